// Package disk holds what every room does with files: the data directory, durable replacement and bounded reads.
package disk
