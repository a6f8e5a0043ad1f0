// Package wal puts bytes on flash: see the issue; written by its builder.
package wal

import _ "github.com/tidwall/wal" // the log that holds our frames
