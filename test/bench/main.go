//go:build linux

// Command bench measures firma beside other proxies and sandboxes, in turns and
// in one run: docs/performance.md says how and what came out. As `bench soak`
// it drives firma for a while; `bench client` and `bench churn` run in sandboxes.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "client":
			exit(client(os.Args[2:]))
		case "churn":
			exit(churn(os.Args[2:]))
		case "soak":
			exit(soak(os.Args[2:]))
		}
	}
	var o options
	flag.StringVar(&o.firma, "firma", "bin/firma", "the firma to measure")
	flag.StringVar(&o.peers, "peers", "bin/peers", "where the peers were built")
	flag.StringVar(&o.against, "against", "", "another firma to compare with")
	flag.StringVar(&o.only, "only", "", "subjects to measure, by name, comma-separated")
	flag.StringVar(&o.parts, "parts", "proxy,intercept,idle,sandbox", "what to measure")
	flag.StringVar(&o.kinds, "kinds", "requests,tunnels,throughput,latency", "of proxies: what to measure")
	flag.IntVar(&o.rounds, "rounds", 7, "rounds; medians over them are shown")
	flag.IntVar(&o.conns, "conns", 32, "connections at once")
	flag.IntVar(&o.idle, "idle", 9900, "idle tunnels; each takes two descriptors")
	flag.DurationVar(&o.time, "time", 500*time.Millisecond, "length of one measurement")
	flag.Parse()
	exit(run(o))
}

type options struct {
	firma, against, peers, only, parts, kinds string
	rounds, conns, idle                       int
	time                                      time.Duration
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}
