// Package keypair keeps a certificate and its key as they are in two files: what serves them goes
// on with the pair that fits while another program renews the files.
//
// Check reads both files; the agent calls it in each interval (Every) and at SIGHUP. A pair that
// has changed and fits is served to new connections from then on; connections that are open keep
// theirs. A pair that does not fit, such as a new certificate beside the old key, is named, and the
// old one goes on; the next Check looks again. The files are compared by their content, so that
// neither a copy that keeps the time nor a link that is turned is missed. A file of more than
// maxFile bytes is refused.
package keypair
