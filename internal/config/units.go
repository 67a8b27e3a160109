package config

import (
	"errors"
	"math"
	"reflect"
	"strconv"
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

// Size is a number of bytes that may be left out; the zero value is left out.
type Size struct {
	value int64
	set   bool
}

// Or returns the configured size, def without one.
func (s Size) Or(def int64) int64 {
	if s.set {
		return s.value
	}
	return def
}

// sizeUnits are in the order in which an ending is looked for.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"B", 1}}

// parseSize reads a whole number with a unit: "4MiB", "16MB".
func parseSize(text string) (int64, error) {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSuffix(digits, " "), 10, 63)
		if err != nil || int64(n) > math.MaxInt64/u.bytes {
			break
		}
		return int64(n) * u.bytes, nil
	}
	return 0, errors.New(printable(text) + ` is not a size: write a whole number with a unit, such as "512KiB", "4MiB" or "1GiB"`)
}

func (d *decoder) size(n *node, v reflect.Value, s settingOf, path string) {
	text, ok := n.value.(string)
	if !ok {
		d.add(n.at, `%s is a size such as "64MiB", not %s`, path, n.what())
		return
	}
	value, err := parseSize(text)
	if err != nil {
		d.add(n.at, "%s: %v", path, err)
		return
	}
	d.setSize(n.at, v, s, path, value)
}

func (d *decoder) setSize(at place, v reflect.Value, s settingOf, path string, value int64) {
	if value < 0 || value == 0 && !s.zero {
		d.add(at, "%s must be more than zero", path)
		return
	}
	v.Set(reflect.ValueOf(Size{value, true}))
}

// olderValue reads a key by its older name, whose ending is the unit of a plain
// number.
func (d *decoder) olderValue(n *node, v reflect.Value, s settingOf, path string) {
	if strings.HasSuffix(s.older, "_bytes") {
		value, ok := n.value.(int64)
		if !ok {
			d.add(n.at, "%s is a whole number, not %s; newer files write %s with a unit", path, n.what(), s.key)
			return
		}
		d.setSize(n.at, v, s, path, value)
		return
	}
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
