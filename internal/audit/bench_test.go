package audit

import (
	"context"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

func BenchmarkEncode(b *testing.B) {
	e := sampleEvent(2)
	e.EventID, e.Schema, e.Timestamp = "aevt_01jd0000000000000000000000", Schema, 1_800_000_000_000_000_000
	var l line
	var block []byte
	var prev tlog.Hash
	h := newHasher()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := l.encode(e); err != nil {
			b.Fatal(err)
		}
		block, prev = l.appendTo(block[:0], h, prev, uint64(i))
	}
	b.SetBytes(int64(len(block)))
}

func BenchmarkAppend(b *testing.B) {
	l := openLog(b, testOptions(b))
	b.ReportAllocs()
	for b.Loop() {
		e := *sampleEvent(2)
		if err := l.Append(context.Background(), &e); err != nil {
			b.Fatal(err)
		}
	}
	closeLog(b, l)
}

func BenchmarkAppendParallel(b *testing.B) { benchParallel(b, testOptions(b)) }

func BenchmarkAppendParallelStrict(b *testing.B) {
	o := testOptions(b)
	o.Strict = true
	benchParallel(b, o)
}

func BenchmarkAppendParallelSigned(b *testing.B) {
	o := testOptions(b)
	o.SignEvents = true
	benchParallel(b, o)
}

func benchParallel(b *testing.B, o Options) {
	l := openLog(b, o)
	b.ReportAllocs()
	b.SetParallelism(64)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(context.Background(), sampleEvent(2)); err != nil {
				b.Error(err)
			}
		}
	})
	b.StopTimer()
	closeLog(b, l)
}

func BenchmarkRecord(b *testing.B) {
	l := openLog(b, testOptions(b))
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Record(sampleEvent(2)); err != nil {
			b.Fatal(err)
		}
	}
	closeLog(b, l)
}

// BenchmarkRun is the log of a short run: open, four events, close.
func BenchmarkRun(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		o := testOptions(b)
		b.StartTimer()
		writeLog(b, o, 4)
	}
}

func BenchmarkVerify(b *testing.B) {
	o := testOptions(b)
	const n = 20_000
	writeLog(b, o, n)
	for b.Loop() {
		wantStatus(b, mustVerify(b, o.verify()), StatusSealed)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*n), "µs/event")
}

// BenchmarkOpen is what a starting process waits for.
func BenchmarkOpen(b *testing.B) {
	o := testOptions(b)
	dir := filepath.Dir(o.Path)
	for i := 0; b.Loop(); i++ {
		o.Path = filepath.Join(dir, strconv.Itoa(i))
		l := openLog(b, o)
		b.StopTimer()
		closeLog(b, l)
		b.StartTimer()
	}
}
