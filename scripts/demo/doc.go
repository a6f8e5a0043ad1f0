// Demo shows the main job of edgesync on real measurements, and checks at the end that nothing was
// lost.
//
//	stations ──HTTP──> edgesync (process, real configuration) ──gRPC──> cloud in a box (process)
//	    └── repeat a post until it is answered with 200                       └── asked for every
//	                                                                              row at the end
//
// Three stations post 18,979 readings with their own timestamps. The link to the cloud is cut for a
// while, the agent is killed with SIGKILL and started again. Then every time series of the cloud is
// compared with the files row by row, in the order of arrival too, and the agent's counters must
// add up: accepted = deployed + pending + dropped + dead + damaged. It exits with 0 only if both
// hold.
//
// A station repeats a post whose answer it did not get, and the agent repeats events that the cloud
// did not acknowledge: each reading arrives at least once. The cloud writes a repeated row over the
// same row; the demo counts these duplicates.
//
// # Rules
//
// With --rules the same stations post, one reading a post and each with its number. At first
// everything goes up as it comes. Then the ready chain scripts/chains/minute.json is assigned, with
// windows of 2 s instead of a minute, and the agent is killed in the middle of a window. At the end
// each reading is in the cloud or in exactly one window (a reading whose post was repeated: in one
// or two), and each minimum, maximum, average (to three decimals) and count of a window is that of
// the readings in it, computed from the files.
//
// # Files
//
//	main.go     building, rounds, the report at the end
//	site.go     the processes of both: beginning, kill, end
//	round.go    one round: faults, the check of the counters
//	station.go  what posts the readings of one station
//	compare.go  the comparison of a time series with its file; data.go the files
//	screen.go   the chart and the lines on the terminal
//	rules.go    the demo of rules; rules_judge.go the comparison of windows with the files,
//	            rules_screen.go what it shows
//
// # Data
//
// The files in data/ are measurements of the National Oceanic and Atmospheric Administration (NOAA)
// of the United States, in the public domain, in the form in which the vega_datasets collection
// carries them, compressed and otherwise unchanged:
//
//   - seattle-temps.csv, sf-temps.csv: hourly air temperature of Seattle and San Francisco in 2010,
//     in degrees Fahrenheit
//   - seattle-weather.csv: precipitation (mm), highest and lowest temperature (degrees Celsius),
//     wind (m/s) and kind of weather of Seattle for each day of 2012 to 2015
//
// Their times are local and name no zone; they are read as UTC.
package main
