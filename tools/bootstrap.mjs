/**
 * The first step of every npm script: `node tools/bootstrap.mjs start | FILE.ts [ARGS]`. It brings node_modules in
 * line with package-lock.json when it is not, then hands over to the Node that the lock file pins. It is plain
 * JavaScript without dependencies, because it runs before anything is installed, under any Node from 18 on.
 * npm puts node_modules/.bin in front of PATH, so the scripts name npm's own Node to run this file: the pinned one
 * may be the very thing that does not run. It writes to stderr only: stdin, stdout and the exit code belong to what
 * it starts.
 *
 * Where the pinned Node cannot be had or does not run (Node from 25 on wants libatomic.so.1, which a small Debian
 * lacks), a Node of the machine's own that is new enough serves instead, else the last release line without that
 * wish (package.json, `config.fallbackNode`).
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const pinned = join(root, 'node_modules/node/bin/node');
const fallback = join(root, 'node_modules/.fallback-node');
const leastMajor = 24;
const quietly = ['--loglevel=error', '--no-audit', '--no-fund'];

const [target = 'start', ...rest] = process.argv.slice(2);
const args =
  target === 'start' ? [join(root, 'src/cli/kage.ts'), ...startArguments(rest)] : [join(root, target), ...rest];
if (target === 'start' && process.env.INIT_CWD) process.chdir(process.env.INIT_CWD);
handOver(prepareNode(), args);

/** `npm start` is `kage run`; options alone belong to `run`; any other verb passes through. */
function startArguments(given) {
  const first = given[0];
  const ofKage = first !== undefined && (!first.startsWith('-') || ['-h', '--help', '-V', '--version'].includes(first));
  return ofKage ? given : ['run', ...given];
}

/** Installs what is missing and returns the path of the Node to go on with; ends the process where there is none. */
function prepareNode() {
  if (!isInstalled()) {
    say('installing dependencies (npm ci) ...');
    npm(['ci', '--include=dev', '--include=optional', ...quietly]);
  }
  if (isInstalled() && !existsSync(pinned)) {
    // The script of the `node` package, in case this npm is told to run none.
    spawnSync(process.execPath, ['installArchSpecificPackage'], {
      cwd: join(root, 'node_modules/node'),
      stdio: ['ignore', 2, 2],
      env: { ...process.env, npm_config_loglevel: 'error', npm_config_fund: 'false', npm_config_audit: 'false' },
    });
  }
  if (runs(pinned)) return pinned;
  const reason = whyNot(pinned);
  if (Number.parseInt(process.versions.node, 10) >= leastMajor) {
    say(`the pinned Node does not run here (${reason}); going on with ${process.version} of this machine`);
    return process.execPath;
  }
  const { fallbackNode } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).config;
  const name = `node-${process.platform}-${process.arch}`;
  const node = join(fallback, 'node_modules', name, 'bin/node');
  if (!runs(node)) {
    say(`the pinned Node does not run here (${reason}); fetching Node ${fallbackNode} ...`);
    npm(['install', '--prefix', fallback, '--no-save', '--no-package-lock', ...quietly, `${name}@${fallbackNode}`]);
  }
  if (runs(node)) return node;
  say(`Node ${leastMajor} or later is needed and could not be installed; this is ${process.version}.`);
  say('Run `npm ci` to see why, install a newer Node, or, on Debian, the package libatomic1.');
  process.exit(125);
}

/** Whether node_modules holds exactly what the lock file says (packages for other platforms aside). */
function isInstalled() {
  const wanted = readLock('package-lock.json');
  const present = readLock('node_modules/.package-lock.json');
  if (!wanted || !present) return false;
  const same = (name) =>
    wanted[name]?.version === present[name]?.version && wanted[name]?.integrity === present[name]?.integrity;
  return (
    Object.keys(present).every((name) => same(name) && existsSync(join(root, name))) &&
    Object.keys(wanted).every((name) => name === '' || present[name] || wanted[name].optional)
  );
}

function readLock(path) {
  try {
    return JSON.parse(readFileSync(join(root, path), 'utf8')).packages;
  } catch {
    return undefined;
  }
}

function runs(node) {
  return spawnSync(node, ['--version'], { stdio: 'ignore' }).status === 0;
}

/** What a Node that does not run says for itself: the loader's first line, or that it is not there. */
function whyNot(node) {
  const { error, stderr } = spawnSync(node, ['--version'], { encoding: 'utf8' });
  return error ? error.message : stderr.trim().split('\n')[0];
}

function npm(args) {
  const cli = process.env.npm_execpath;
  const command = cli?.endsWith('.js') ? [process.execPath, [cli, ...args]] : ['npm', args];
  const result = spawnSync(command[0], command[1], { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.error) say(`npm could not be started: ${result.error.message}`);
}

/** Runs `node args` in this process's place; its end is ours. */
function handOver(node, args) {
  const child = spawn(node, args, {
    stdio: 'inherit',
    env: { ...process.env, PATH: `${dirname(node)}:${process.env.PATH}` },
  });
  // A terminal's Ctrl-C reaches the child by itself; what a supervisor sends to this process alone does not.
  process.on('SIGINT', () => {});
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  child.on('error', (error) => {
    say(`${node} could not be started: ${error.message}`);
    process.exit(125);
  });
  child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code));
}

function say(text) {
  process.stderr.write(`kagemusha: ${text}\n`);
}
