// Command cloud is a ThingsBoard cloud for people who have no server: one edge or many, a few
// devices with tokens. It prints the uplinks that arrive. Commands on its standard input make it go
// away, stall, refuse, limit rates and lose acknowledgements; help lists them. With --control the
// same commands, and what the cloud has stored, are available over HTTP: the demo and the
// benchmarks use it so.
//
//	main.go      flags, listening
//	operator.go  the commands; chains.go those about rule chains
//	show.go      how uplinks are printed
//	control.go   the HTTP endpoint of --control
//	attempts.go  when edges tried to connect
//	tls.go       the certificate of --tls
package main
