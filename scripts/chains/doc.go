// Package chains holds rule chains that are ready to be imported, as README.md says, and the test
// that runs each of them.
package chains
