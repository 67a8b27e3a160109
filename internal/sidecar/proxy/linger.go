package proxy

import (
	"io"
	"net"
	"time"
)

const (
	// lingerBytes and lingerTime bound the wait for a client that has no more to send.
	lingerBytes = 256 << 10
	lingerTime  = 500 * time.Millisecond
	// uploadBytes bounds what is discarded of a request that was answered before its end.
	uploadBytes = 1 << 30
	// lingerShare: one of so many connections may wait for the end of an upload.
	lingerShare = 4
)

// linger lets a last response arrive: closing with unread input would reset the
// connection and could destroy the response on its way (RFC 9112, section 9.6). A
// client in the middle of a request may be a while in finding out that it was
// answered, and some look only when all is sent: what it sends is discarded, where the
// kernel holds it, until the client closes, says nothing for Config.LingerIdle, or
// Config.Linger is over.
func (c *conn) linger(uploading bool) {
	if c.out.flush() != nil || !closeWrite(c.nc) {
		return
	}
	if c.nc != c.raw {
		closeWrite(c.raw) // TLS said that it is the end; not all clients listen
	}
	c.releaseBuffers()
	s := c.srv
	if uploading && s.lingering.Add(1) <= s.mayLinger {
		c.discard(uploadBytes, s.cfg.LingerIdle, time.Now().Add(s.cfg.Linger))
	} else {
		c.discard(lingerBytes, lingerTime, time.Now().Add(lingerTime))
	}
	if uploading {
		s.lingering.Add(-1)
	}
}

// discard drops what the client sends, TLS or not, until it ends.
func (c *conn) discard(most int64, patience time.Duration, until time.Time) {
	c.idle.Store(true) // Drain wakes it
	defer c.idle.Store(false)
	for last := false; most > 0; {
		now := time.Now()
		c.raw.SetReadDeadline(earlier(until, now.Add(patience)))
		if !last && c.srv.draining.Load() {
			last, until = true, earlier(until, now.Add(lingerTime))
			continue
		}
		n, err := drop(c.raw, most)
		if most -= n; err != nil && (last || !isTimeout(err) || !c.srv.draining.Load()) {
			return
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// copyAway is drop where nothing better is known.
func copyAway(nc net.Conn, most int64) (int64, error) {
	buf := copyPool.Get().(*[copySize]byte)
	defer copyPool.Put(buf)
	n, err := nc.Read(buf[:min(most, copySize)])
	if n == 0 && err == nil {
		err = io.ErrNoProgress
	}
	return int64(n), err
}
