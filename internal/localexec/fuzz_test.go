package localexec_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"firma/internal/localexec"
)

// FuzzParseRequest: what is accepted says the same when it is written again, and
// a lenient reader takes it for the same command.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(requestLine))
	f.Add([]byte(`{"action":"local.exec","executable":"/x","args":["\ud83d\ude00","\u0061"],"sandbox_id":"a","session_id":"b","profile":"c","hitl_mode":"async_token","agent_id":null,"approval_token":"t","invoked_as":"y"}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := localexec.ParseRequest(line)
		if err != nil {
			if !cmp.Equal(r, localexec.Request{}) {
				t.Fatalf("an error and a request: %+v", r)
			}
			return
		}
		again, err := r.Line()
		if err != nil { // only by growing: escapes may be longer than what they stand for
			if len(line) < localexec.MaxRequest/6 {
				t.Fatalf("accepted but can't be written: %v", err)
			}
			return
		}
		back, err := localexec.ParseRequest(again[:len(again)-1])
		if diff := cmp.Diff(r, back); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
		var lenient localexec.Request
		if err := json.Unmarshal(line, &lenient); err != nil || !cmp.Equal(lenient, r) {
			t.Fatalf("another reader sees another command: %v\n%s", err, cmp.Diff(r, lenient))
		}
	})
}

// FuzzParseResponse: only the three words come through, and "allow" only where a
// lenient reader sees it, too.
func FuzzParseResponse(f *testing.F) {
	for _, s := range []string{`{"decision":"allow"}`, `{"decision":"deny","reason":"x"}`, `{"decision":"pending_hitl","approval_token":"t","retry_after_ms":5}`,
		`{"decision":"deny","decision":"allow"}`, `{"Decision":"allow"}`, "{\"decision\":\"allow\"}\n{}", "\x16\x03\x01"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		r, err := localexec.ParseResponse(line)
		if err != nil {
			if r != (localexec.Response{}) {
				t.Fatalf("an error and a response: %+v", r)
			}
			return
		}
		if r.Decision != localexec.Allow && r.Decision != localexec.Deny && r.Decision != localexec.Pending {
			t.Fatalf("decision %q", r.Decision)
		}
		var lenient localexec.Response
		if err := json.Unmarshal(line, &lenient); err != nil || lenient != r {
			t.Fatalf("another reader sees another answer: %v, %+v, %+v", err, lenient, r)
		}
	})
}

// FuzzParseManage: both directions of the management socket say the same when they are
// written again, and to a lenient reader.
func FuzzParseManage(f *testing.F) {
	for _, s := range []string{`{"action":"local.exec.approve","token_id":"apr_1"}`, `{"outcome":"ok","reason":"x"}`, `{"outcome":"not_found"}`, `{"action":"a","token_id":"b","token_id":"c"}`,
		`{"action":"a","Token_ID":"b"}`, `{"outcome":"ok","reason":null}`, `{"outcome":"ok","reason":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if m, err := localexec.ParseManage(line); err == nil {
			sameAgain(t, line, m, localexec.ParseManage, m.Line)
		}
		if m, err := localexec.ParseManaged(line); err == nil {
			sameAgain(t, line, m, localexec.ParseManaged, m.Line)
		}
	})
}

func sameAgain[M comparable](t *testing.T, line []byte, m M, parse func([]byte) (M, error), write func() ([]byte, error)) {
	again, err := write()
	if err != nil {
		if len(line) < localexec.MaxResponse/6 { // it may grow, as requests may
			t.Fatalf("%+v: %v", m, err)
		}
		return
	}
	if back, err := parse(again[:len(again)-1]); back != m || err != nil {
		t.Fatalf("%+v became %+v, %v", m, back, err)
	}
	var lenient M
	if err := json.Unmarshal(line, &lenient); err != nil || lenient != m {
		t.Fatalf("%+v, another reader sees %+v, %v", m, lenient, err)
	}
}
