package h2

import (
	"errors"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/sidecar/field"
)

// pushTime is for the commands of a git push to arrive.
const pushTime = 15 * time.Second

var errLatePush = &bodyError{"the commands of a git push did not arrive in time"}

// readPush reads the commands of a git push: they stand in front of the pack, and
// decide what the call is.
func (st *stream) readPush() error {
	if !st.call.IsPush() {
		return nil
	}
	for _, f := range st.head.fields {
		if field.Same(f.Name, "content-encoding") && !strings.EqualFold(f.Value, "identity") {
			return &intent.Error{Why: "the commands of a git push are encoded; push without compressing the request"}
		}
	}
	if st.head.expects {
		st.head.expects = false
		st.writeInterim([]hpack.HeaderField{{Name: ":status", Value: "100"}})
	}
	defer time.AfterFunc(pushTime, func() { st.stop(errLatePush, codeCancel) }).Stop()
	st.pushed = st.c.srv.cfg.Memory.Claim()
	var ahead []byte
	var parser gitpush.Parser
	buf := make([]byte, 4<<10)
	for {
		n, err := st.Read(buf)
		if !st.pushed.Hold(memPush * (len(ahead) + n)) {
			return errNoRoom
		}
		ahead = append(ahead, buf[:n]...)
		updates, done, perr := parser.Parse(ahead)
		var e *gitpush.Error
		switch {
		case errors.As(perr, &e):
			return &intent.Error{Why: "the commands of a git push are malformed: " + e.Why}
		case done:
			st.call.Push = &intent.Push{Updates: updates}
			st.c.mu.Lock()
			st.ahead = ahead
			st.c.mu.Unlock()
			return nil
		case err == io.EOF:
			return &intent.Error{Why: "the commands of a git push are not complete"}
		case err != nil:
			return err
		}
	}
}
