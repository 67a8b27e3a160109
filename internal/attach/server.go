package attach

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"
)

// Guest is the Sidecar's side of an attached run.
type Guest struct {
	*Line
	Name string // of the run, as its other connections give it
	Key  Key
	From string // the client, for the log: "tcp" or "unix, uid N"
}

// errStranger is a client that may not attach.
var errStranger = errors.New("it may not attach")

// Greet answers a Control header on conn, which becomes the guest's. secret is
// asked for a TCP client only. On an error the client has been refused; the caller
// closes conn.
func Greet(conn net.Conn, h Header, secret string) (*Guest, error) {
	_ = conn.SetDeadline(time.Now().Add(HandshakeTimeout))
	defer conn.SetDeadline(time.Time{})
	g := &Guest{Line: newLine(conn)}
	y := reply{kind: granted, run: random[id]()}
	g.Name = hex.EncodeToString(y.run[:])
	var err error
	switch addr := conn.LocalAddr().(type) {
	case *net.UnixAddr:
		if g.From, err = peerName(conn); err == nil {
			g.Key = random[Key]()
			y.value = mac(g.Key)
		}
	case *net.TCPAddr:
		g.From, err = "tcp", fromHere(conn)
		local := []byte(addr.String())
		if err == nil && (secret == "" || !h.proof.equal(prove([]byte(secret), "client", h.nonce[:], local))) {
			err = errStranger
		}
		g.Key, y.value = tcpKey(secret, h.nonce, y.run), prove([]byte(secret), "server", h.nonce[:], y.run[:], local)
	default:
		err = errStranger
	}
	if err != nil {
		_, _ = conn.Write(reply{kind: refused}.append(nil))
		return nil, err
	}
	_, err = conn.Write(y.append(nil))
	return g, err
}

// fromHere refuses clients of other machines: what they say is not encrypted.
func fromHere(conn net.Conn) error {
	addr, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !addr.IP.IsLoopback() {
		return fmt.Errorf("%w: it is on another machine", errStranger)
	}
	return nil
}

func peerName(conn net.Conn) (string, error) {
	if err := OwnOrRoot(conn); err != nil {
		return "", err
	}
	uid, err := peerUID(conn)
	return fmt.Sprintf("unix, uid %d", uid), err
}

// Admit answers the header of a connection of the run's on conn: it must come from who holds the
// run's key. What follows on conn is the agent's.
func Admit(conn net.Conn, h Header, key Key) error {
	_ = conn.SetDeadline(time.Now().Add(HandshakeTimeout))
	defer conn.SetDeadline(time.Time{})
	if !h.proof.equal(member(key, h.Kind, h.nonce)) {
		Refuse(conn)
		return errStranger
	}
	_, err := conn.Write(reply{kind: granted, value: welcome(key, h.Kind, h.nonce)}.append(nil))
	return err
}

// Refuse tells a client that its connection is not wanted.
func Refuse(conn net.Conn) { _, _ = conn.Write(reply{kind: refused}.append(nil)) }

// TakesNoRuns tells a run that it can't attach here, whoever it is.
func TakesNoRuns(conn net.Conn) { _, _ = conn.Write(reply{kind: noRuns}.append(nil)) }

// OwnOrRoot returns an error unless, by what the kernel says, the other end of a
// unix socket is this account's or root's.
func OwnOrRoot(conn net.Conn) error {
	uid, err := peerUID(conn)
	switch {
	case err != nil:
		return err
	case uid != 0 && uid != uint32(geteuid()):
		return fmt.Errorf("the other end belongs to the account %d", uid)
	}
	return nil
}
