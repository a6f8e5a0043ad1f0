// Command fleet makes many edges in a ThingsBoard, over its REST API, and writes for each what its
// gateway needs: a row of a table, or the files of edgesync. README.md says how it is used.
//
//	main.go     flags
//	client.go   login, the edges of the server
//	output.go   the table, the files
package main
