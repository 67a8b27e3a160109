// Package seed keeps what the guide promises beside the tests that prove it.
package seed
