// Command goget is what an agent written in Go does: a GET, with the defaults of
// net/http, linked statically.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	r, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r.Body.Close()
	fmt.Println(r.StatusCode)
}
