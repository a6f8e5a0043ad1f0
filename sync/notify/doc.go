// Package notify tells the service manager that started this process how it does: that it serves,
// that it stops, and that it still lives. It speaks the protocol of systemd's Type=notify, one
// datagram a message, to the socket that the variable NOTIFY_SOCKET names. Without the variable
// nothing is sent, and nothing fails.
package notify
