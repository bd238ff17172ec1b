/** The door of certificates: made by us, for daemons, clusters and their authorities. */
export { type CertificateWish, type Certified, makeCertificate } from './certificate.ts';
