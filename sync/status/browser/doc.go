// Package browser tests the page in Chromium: each button, filter and state, its look in light and
// dark and on a phone, and its accessibility by axe-core. The tests have the build tag "page",
// because Chromium is large: `make page-test` runs them, and `make page-shots` keeps what they see.
package browser
