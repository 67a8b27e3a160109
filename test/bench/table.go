//go:build linux

package main

import (
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
)

// table holds the values of every round, and shows medians.
type table struct {
	subjects []string
	values   map[string]map[string][]float64
	last     map[string]float64 // of this round: what others are compared with
}

func newTable() *table {
	return &table{values: map[string]map[string][]float64{}, last: map[string]float64{}}
}

func (t *table) add(subject, column string, v float64) {
	if t.values[subject] == nil {
		t.values[subject] = map[string][]float64{}
		t.subjects = append(t.subjects, subject)
	}
	t.values[subject][column] = append(t.values[subject][column], v)
}

func (t *table) now(name string, v float64) { t.last[name] = v }

func (t *table) median(subject, column string) (float64, bool) {
	v := slices.Sorted(slices.Values(t.values[subject][column]))
	if len(v) == 0 {
		return 0, false
	}
	return v[len(v)/2], true
}

// print shows one row per subject: the median over the rounds and, in brackets,
// how many times firma's that is.
func (t *table) print(columns ...string) {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "  ")
	for _, c := range columns {
		fmt.Fprintf(w, "\t%s", c)
	}
	fmt.Fprintln(w)
	for _, s := range t.subjects {
		fmt.Fprintf(w, "  %s", s)
		for _, c := range columns {
			v, ok := t.median(s, c)
			own, compared := t.median("firma", c)
			switch {
			case !ok:
				fmt.Fprint(w, "\t–")
			case s == "firma" || !compared || own <= 0:
				fmt.Fprintf(w, "\t%s", figure(v))
			default:
				fmt.Fprintf(w, "\t%s (%.2f)", figure(v), v/own)
			}
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	w.Flush()
}

func figure(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.3f", v)
}
