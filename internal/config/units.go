package config

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"time"
)

// Duration is a setting that may be left out; the zero value is left out.
type Duration struct {
	value time.Duration
	set   bool
}

// DurationOf is a setting of d.
func DurationOf(d time.Duration) Duration { return Duration{d, true} }

// Or returns the configured duration, def without one.
func (d Duration) Or(def time.Duration) time.Duration {
	if d.set {
		return d.value
	}
	return def
}

// parseDuration reads a number with a unit: "500ms", "1h30m".
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || strings.HasPrefix(s, "+") {
		return 0, errors.New(printable(s) + ` is not a duration: write a number with a unit, such as "500ms", "30s", "10m" or "1h"`)
	}
	return d, nil
}

func (d *decoder) duration(n *node, v reflect.Value, s settingOf, path string) {
	text, ok := n.value.(string)
	if !ok {
		d.add(n.at, `%s is a duration such as "30s", not %s`, path, n.what())
		return
	}
	value, err := parseDuration(text)
	if err != nil {
		d.add(n.at, "%s: %v", path, err)
		return
	}
	d.setDuration(n.at, v, s, path, value)
}

func (d *decoder) setDuration(at place, v reflect.Value, s settingOf, path string, value time.Duration) {
	if value < 0 || value == 0 && !s.zero {
		d.add(at, "%s must be more than zero", path)
		return
	}
	v.Set(reflect.ValueOf(DurationOf(value)))
}

// olderValue reads a key by its older name, whose ending is the unit of a plain
// number.
func (d *decoder) olderValue(n *node, v reflect.Value, s settingOf, path string) {
	unit := olderUnit(s.older)
	if unit == 0 {
		d.value(n, v, s, path)
		return
	}
	value, ok := n.value.(int64)
	if !ok {
		d.add(n.at, "%s is a whole number, not %s; newer files write %s with a unit", path, n.what(), s.key)
		return
	}
	if value < 0 || value > math.MaxInt64/int64(unit) {
		d.add(n.at, "%s is out of range", path)
		return
	}
	d.setDuration(n.at, v, s, path, time.Duration(value)*unit)
}

func olderUnit(key string) time.Duration {
	switch {
	case strings.HasSuffix(key, "_ms"):
		return time.Millisecond
	case strings.HasSuffix(key, "_secs"), strings.HasSuffix(key, "_seconds"):
		return time.Second
	}
	return 0
}
