package http1

// Detach copies what q holds of the reader's buffer, so that it stays valid when
// the reader is filled: for a request whose body must be looked at before its head
// is done with.
func (q *Request) Detach() {
	size := len(q.Method) + len(q.Target) + len(q.Host) + len(q.Upgrade) + len(q.upgrade)
	for _, f := range q.Fields {
		size += len(f.Name) + len(f.Value)
	}
	for _, o := range q.options {
		size += len(o)
	}
	buf := make([]byte, 0, size)
	keep := func(b *[]byte) {
		if *b == nil {
			return
		}
		at := len(buf)
		buf = append(buf, *b...)
		*b = buf[at:len(buf):len(buf)]
	}
	for _, b := range []*[]byte{&q.Method, &q.Target, &q.Host, &q.Upgrade, &q.upgrade} {
		keep(b)
	}
	for i := range q.Fields {
		keep(&q.Fields[i].Name)
		keep(&q.Fields[i].Value)
	}
	for i := range q.options {
		keep(&q.options[i])
	}
}
