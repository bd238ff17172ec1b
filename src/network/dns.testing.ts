/** The DNS codec for tests of other rooms, which play name servers and guests. */
export { decodeQuestion, dnsResponseCode, encodeQuery, encodeResponse } from './dns.ts';
