package enforce

import (
	"context"
	"slices"
	"strings"
	"testing"

	"firma/internal/gitpush"
	"firma/internal/intent"
	"firma/internal/mapping"
	"firma/internal/policy"
	"firma/internal/verdict"
)

const branchPolicy = `
permit (principal, action, resource);
@id("no-main") forbid (principal, action == Firma::Action::"code.write", resource)
when { context has git_ref && context.git_ref == "refs/heads/main" };
@id("no-delete") forbid (principal, action == Firma::Action::"code.destructive", resource)
unless { context has git_operation && context.git_operation == "delete" && context has git_ref_type && context.git_ref_type == "branch" };
`

// TestPush: what a push asks for is what is judged, each ref of it.
func TestPush(t *testing.T) {
	update := func(ref string) gitpush.Update { return gitpush.Update{Ref: ref} }
	remove := func(ref string) gitpush.Update { return gitpush.Update{Ref: ref, Delete: true} }
	for _, c := range []struct {
		name  string
		push  *intent.Push
		class string
		want  verdict.Reason
	}{
		{"unread", nil, "code.destructive", verdict.PolicyDenied},
		{"probe", &intent.Push{}, "code.write", verdict.None},
		{"a branch", &intent.Push{Updates: []gitpush.Update{update("refs/heads/x")}}, "code.write", verdict.None},
		{"main", &intent.Push{Updates: []gitpush.Update{update("refs/heads/main")}}, "code.write", verdict.PolicyDenied},
		{"main among others", &intent.Push{Updates: []gitpush.Update{update("refs/heads/x"), update("refs/heads/main"), update("refs/heads/y")}}, "code.write", verdict.PolicyDenied},
		{"a branch removed", &intent.Push{Updates: []gitpush.Update{remove("refs/heads/x")}}, "code.destructive", verdict.None},
		{"a tag removed", &intent.Push{Updates: []gitpush.Update{remove("refs/tags/x")}}, "code.destructive", verdict.PolicyDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			b, err := policy.Compile("v", []byte(branchPolicy), nil)
			if err != nil {
				t.Fatal(err)
			}
			s.bundle = b
			e := s.enforcer(t, true)
			x := call(t, "POST", "http://a.test/o/r.git/git-receive-pack")
			x.Push = c.push
			d := e.Enforce(context.Background(), x)
			if d.Reason != c.want || d.ActionClass != c.class {
				t.Errorf("%s as %s, want %s as %s", d.Reason, d.ActionClass, c.want, c.class)
			}
			if still := e.Still(x, d); (still == verdict.None) != (c.want == verdict.None) {
				t.Errorf("still: %q", still)
			}
			if c.push != nil && len(c.push.Updates) > 0 && !strings.Contains(string(s.events[0].Info), c.push.Updates[0].Ref) {
				t.Errorf("recorded %s", s.events[0].Info)
			}
		})
	}
}

// TestPushDemandsAddUp: each ref may ask for a header to be removed.
func TestPushDemandsAddUp(t *testing.T) {
	s := newScene(t)
	b, err := policy.Compile("v", []byte(`permit (principal, action, resource);
@modify("redact_header:x-a") forbid (principal, action, resource) when { context has git_ref && context.git_ref == "refs/heads/a" };
@modify("redact_header:x-b") forbid (principal, action, resource) when { context has git_ref && context.git_ref == "refs/heads/b" };`), nil)
	if err != nil {
		t.Fatal(err)
	}
	s.bundle = b
	x := call(t, "POST", "http://a.test/o/r.git/git-receive-pack")
	x.Push = &intent.Push{Updates: []gitpush.Update{{Ref: "refs/heads/c"}, {Ref: "refs/heads/a"}, {Ref: "refs/heads/b"}}}
	d := s.enforcer(t, true).Enforce(context.Background(), x)
	if d.Outcome != verdict.Modify || !slices.Equal(d.RedactHeaders, []string{"x-a", "x-b"}) {
		t.Errorf("%+v", d)
	}
}

// TestPushInAnyReading: a policy about a ref holds for a push however its path is
// written, and wherever a host keeps its repositories.
func TestPushInAnyReading(t *testing.T) {
	for target, repo := range map[string]string{
		"/o/r.git/git-receive-pack":         "o r",
		"/o/r.git/git-receive-pack/":        "o r",
		"/o/r.git/git-receive-pack;x":       "o r",
		"/o/r.git;x/git-receive-pack":       "o r",
		"/o%2Fr.git/git-receive-pack":       "o r",
		"/o/r.git/git-receive-pack%3Fx":     "o r",
		"/o/r.git/git-receive-pack%23/x":    "o r",
		"/o/r.git%2Fgit-receive-pack":       "o r",
		"/o/r.git%2Fgit-receive-pack;x":     "o r",
		"/group/sub/r.git/git-receive-pack": "group/sub r",
		"/r.git/git-receive-pack":           " r",
		"/git-receive-pack":                 " ",
	} {
		t.Run(target, func(t *testing.T) {
			s := newScene(t)
			var err error
			if s.bundle, err = policy.Compile("v", []byte(branchPolicy), nil); err != nil {
				t.Fatal(err)
			}
			x := call(t, "POST", "http://a.test"+target)
			if !x.IsPush() {
				t.Fatal("not taken for a push")
			}
			x.Push = &intent.Push{Updates: []gitpush.Update{{Ref: "refs/heads/main"}}}
			if d := s.enforcer(t, true).Enforce(context.Background(), x); d.Reason != verdict.PolicyDenied {
				t.Errorf("main: %s, %q", d.Outcome, d.Reason)
			}
			owner, name, _ := strings.Cut(repo, " ")
			s.bundle, err = policy.Compile("v", []byte(`permit (principal, action, resource);
forbid (principal, action, resource) when { context has git_repo && context.git_repo == "`+name+`" && (`+
				`"`+owner+`" == "" || context has git_owner && context.git_owner == "`+owner+`") };`), nil)
			if err != nil {
				t.Fatal(err)
			}
			x.Push = &intent.Push{Updates: []gitpush.Update{{Ref: "refs/heads/x"}}}
			if d := s.enforcer(t, true).Enforce(context.Background(), x); name != "" && d.Reason != verdict.PolicyDenied {
				t.Errorf("the repository: %s, %q", d.Outcome, d.Reason)
			}
		})
	}
}

// FuzzPush: in whichever reading of its path and method a request is a git push to
// policies, its commands are read; and a request whose commands are read is one.
func FuzzPush(f *testing.F) {
	for _, path := range []string{"/o/r.git/git-receive-pack", "/o/r.git/git-receive-pack/", "/o%2fr.git%2fgit-receive-pack", "/git-receive-pack;x", "/r/git-receive-pack/;x", "/r/git-receive-pack%3bx/", "/r/;a/git-receive-pack", "/r/git-receive-pack/..", "/r/Git-receive-pack", "/r%2Fgit-receive-pack%2f;x", "/r/git-receive%2dpack?service=git-receive-pack", "/git-receive-pack/;/;x/", "/a%3f/git-receive-pack", "/git-receive-pack%3fx", "/git-receive-pack/;%23/x"} {
		f.Add(path, "")
		f.Add(path, "POST")
	}
	f.Fuzz(func(t *testing.T, path, override string) {
		for _, method := range []string{"POST", "GET"} {
			c, err := intent.FromOrigin(intent.HTTPS, method, "a.test", path)
			if err != nil || override != "" && c.SetOverride(override) != nil {
				return
			}
			write := false
			for _, p := range append(mapping.OtherPaths(&c), c.Path) {
				if g := gitContext(&c, p); g != nil && g.Operation == "write" {
					write = true
				}
			}
			posts := c.Method == "POST" || c.Override == "POST"
			if c.IsPush() != (write && posts) {
				t.Fatalf("%s (%s) %s: a push %v, to policies %v", c.Method, c.Override, c.Target(), c.IsPush(), write)
			}
		}
	})
}
