/** Types of the package parse-prometheus-text-format, as far as tests use it: it brings none. */
declare module 'parse-prometheus-text-format' {
  interface Family {
    readonly name: string;
    readonly type: string;
    readonly help: string;
    readonly metrics: readonly { readonly value: string; readonly labels?: Readonly<Record<string, string>> }[];
  }
  // biome-ignore lint/style/noDefaultExport: it is how the package exports
  export default function parse(text: string): Family[];
}
