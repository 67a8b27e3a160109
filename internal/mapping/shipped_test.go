package mapping_test

import (
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"firma/internal/action"
	"firma/internal/fault"
	"firma/internal/mapping"
)

func shipped(t testing.TB, names ...string) *mapping.Table {
	t.Helper()
	var all []mapping.Rule
	for _, n := range names {
		rules, err := mapping.Shipped(n)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rules...)
	}
	table, err := mapping.NewTable(all)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestShippedSets(t *testing.T) {
	files, err := fs.Glob(os.DirFS("shipped"), "*.toml")
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range files {
		files[i] = strings.TrimSuffix(f, ".toml")
	}
	if !slices.Equal(files, mapping.ShippedNames()) {
		t.Errorf("files %v, names %v", files, mapping.ShippedNames())
	}
	for _, name := range files {
		text, err := mapping.ShippedText(name)
		if err != nil {
			t.Fatal(err)
		}
		_, warnings, err := mapping.Parse(name, text)
		if err != nil || len(warnings) > 0 {
			t.Errorf("%s: %q, %v", name, warnings, err)
		}
		rules, err := mapping.Shipped(name)
		if err != nil || len(rules) == 0 || rules[0].Source != "shipped:"+name {
			t.Errorf("%s: %d rules, %v", name, len(rules), err)
		}
		shipped(t, name)
	}
	shipped(t, files...) // all of them together
	if _, err := mapping.Shipped("npm"); fault.NameOf(err) != "InvalidRulesFile" {
		t.Errorf("unknown set: %v", err)
	}
	if _, err := mapping.ShippedText("../shipped/github"); err == nil {
		t.Error("a path is not a name")
	}
}

// A tunnel's CONNECT rule must state what the tunnel really counts as, so that
// nobody reads a lesser class in the file than the one that is decided on.
func TestShippedTunnelsSayWhatTheyAre(t *testing.T) {
	for _, name := range mapping.ShippedNames() {
		rules, err := mapping.Shipped(name)
		if err != nil {
			t.Fatal(err)
		}
		table := shipped(t, name)
		for _, r := range rules {
			if r.Method == "CONNECT" {
				host := strings.NewReplacer("**", "x", "*", "x").Replace(r.Host)
				expect(t, table, "CONNECT", host+":443", r.ActionClass)
			}
		}
	}
}

func TestShippedModelProviders(t *testing.T) {
	table := shipped(t, "anthropic", "openai")
	for _, host := range []string{"api.anthropic.com", "anthropic.com", "claude.ai", "downloads.claude.ai", "claude.com",
		"platform.claude.com", "api.openai.com", "chatgpt.com", "ab.chatgpt.com"} {
		expect(t, table, "CONNECT", host+":443", "communication.external.send")
		expect(t, table, "POST", "http://"+host+"/v1/messages", "communication.external.send")
		if !table.Routable(host) {
			t.Errorf("%s does not resolve", host)
		}
	}
	for _, host := range []string{"evilanthropic.com", "anthropic.com.evil.test", "claude.ai.evil.test", "a.b.claude.ai",
		"openai.com", "files.openai.com", "x.api.openai.com", "notchatgpt.com"} {
		expect(t, table, "CONNECT", host+":443", "")
		if table.Routable(host) {
			t.Errorf("%s resolves", host)
		}
	}
	expect(t, table, "CONNECT", "api.anthropic.com:22", "")
}

// GitHub's table in actions.md, section 4, and what it leaves out.
func TestShippedGitHub(t *testing.T) {
	table := shipped(t, "github")
	const o = "/repos/octo/hello"
	for class, calls := range map[action.Class][]string{
		"code.read": {
			"GET github.com/o/r/info/refs?service=git-upload-pack", "GET github.com/o/r.git/info/refs?service=git-upload-pack",
			"POST github.com/o/r.git/git-upload-pack", "POST github.com/o/r/git-upload-pack",
			"GET " + o, "GET " + o + "/contents", "GET " + o + "/contents/README.md", "GET " + o + "/contents/a/b/c.go", "GET " + o + "/commits",
			"GET " + o + "/commits/abc", "GET " + o + "/branches", "GET " + o + "/tags", "GET /orgs/acme/repos", "GET /user/repos",
		},
		"code.write": {
			"POST github.com/o/r/git-receive-pack", "POST github.com/o/r.git/git-receive-pack",
			"GET github.com/o/r/info/refs?service=git-receive-pack", "GET github.com/o/r.git/info/refs?service=git-receive-pack",
			"GET github.com/o/r/info/refs", "GET github.com/o/r/info/refs?service=git-upload-pack&service=git-receive-pack",
			"GET github.com/o/r/info/refs?service=git-upload-packs", "GET github.com/o/r/info/refs?SERVICE=git-upload-pack",
			"PUT " + o + "/contents/a/b", "POST " + o + "/pulls", "PATCH " + o + "/pulls/1", "PUT " + o + "/pulls/1/update-branch",
			"POST " + o + "/git/refs", "PATCH " + o + "/git/refs/heads/main",
		},
		"code.review.read": {"GET " + o + "/pulls", "GET " + o + "/pulls/1", "GET " + o + "/pulls/1/files", "GET " + o + "/pulls/1/commits",
			"GET " + o + "/pulls/1/reviews", "GET " + o + "/pulls/1/comments", "GET " + o + "/pulls/1/requested_reviewers"},
		"issue.read":  {"GET " + o + "/issues", "GET " + o + "/issues/1", "GET " + o + "/issues/1/comments"},
		"issue.write": {"POST " + o + "/issues", "PATCH " + o + "/issues/1", "POST " + o + "/issues/1/comments"},
		"code.review.submit": {"POST " + o + "/pulls/1/reviews", "PUT " + o + "/pulls/1/reviews/2/events", "POST " + o + "/pulls/1/reviews/2/events",
			"DELETE " + o + "/pulls/1/reviews/2", "POST " + o + "/pulls/1/comments"},
		"code.destructive": {"DELETE " + o + "/contents/a/b", "DELETE " + o + "/git/refs/heads/x/y"},
		"code.merge":       {"PUT " + o + "/pulls/1/merge"},
		"repo.lifecycle":   {"POST /user/repos", "POST /orgs/acme/repos", "POST " + o + "/forks"},
		"repo.admin": {"PATCH " + o, "GET " + o + "/branches/main/protection", "PUT " + o + "/branches/main/protection",
			"POST " + o + "/branches/main/protection/enforce_admins", "DELETE " + o + "/branches/main/protection/a/b"},
		"security.alert.read": {"GET " + o + "/code-scanning/alerts", "GET " + o + "/code-scanning/alerts/1", "GET " + o + "/secret-scanning/alerts/1/locations"},
		"notification.manage": {"GET /notifications", "PUT /notifications", "DELETE /notifications/threads/1", "PUT " + o + "/subscription"},
		"": {
			"GET " + o + "/actions/secrets", "PUT " + o + "/actions/secrets/X", "DELETE " + o, "POST /graphql", "GET /gists", "POST /gists",
			"POST " + o + "/releases", "GET " + o + "/pulls/1/other", "GET " + o + "/a/b/c", "GET /repos/octo", "POST " + o,
			"GET uploads.github.com/x", "GET evil.api.github.com" + o, "GET github.com/o/r/settings", "GET github.com/a/o/r/info/refs?service=git-upload-pack",
			"POST github.com/o/r/info/refs?service=git-upload-pack", "PUT github.com/o/r/git-upload-pack",
		},
	} {
		for _, c := range calls {
			method, target, _ := strings.Cut(c, " ")
			if strings.HasPrefix(target, "/") {
				target = "api.github.com" + target
			}
			expect(t, table, method, "http://"+target, class)
		}
	}
	expect(t, table, "CONNECT", "github.com:443", "code.write")
	expect(t, table, "CONNECT", "api.github.com:443", "repo.admin")
	expect(t, table, "CONNECT", "github.com:22", "")
	if table.Len() != 53 {
		t.Errorf("%d rules", table.Len())
	}
}

func TestShippedStripe(t *testing.T) {
	table := shipped(t, "stripe")
	for class, calls := range map[action.Class]string{
		"payment.read": "GET balance,GET balance/history,GET charges,GET charges/1,GET payment_intents,GET payment_intents/1,GET refunds,GET refunds/1," +
			"GET payouts,GET payouts/1,GET disputes,GET disputes/1,GET events,GET events/1",
		"payment.transfer":          "POST payment_intents,POST payment_intents/1/confirm,POST payment_intents/1/capture,POST payment_intents/1/increment_authorization,POST charges,POST charges/1/capture",
		"payment.cancel":            "POST payment_intents/1/cancel",
		"payment.refund":            "POST refunds,POST refunds/1,POST refunds/1/cancel",
		"payment.payout":            "POST payouts,POST payouts/1/cancel,POST transfers,POST transfers/1/reversals",
		"payment.dispute":           "POST disputes/1,POST disputes/1/close",
		"payment.subscription":      "POST subscriptions,POST subscriptions/1,DELETE subscriptions/1,POST invoices,POST invoices/1,POST invoices/1/finalize,POST invoices/1/pay,POST invoices/1/void,POST invoices/1/send,DELETE invoices/1",
		"payment.method.setup":      "POST setup_intents,POST setup_intents/1,POST setup_intents/1/confirm,POST setup_intents/1/cancel,GET setup_intents,GET setup_intents/1",
		"payment.method.manage":     "POST payment_methods,POST payment_methods/1,POST payment_methods/1/attach,POST payment_methods/1/detach,GET payment_methods,GET payment_methods/1",
		"payment.catalog.write":     "POST products,POST products/1,DELETE products/1,POST prices,POST prices/1,POST coupons,POST coupons/1,DELETE coupons/1,POST promotion_codes,POST promotion_codes/1,POST payment_links,POST payment_links/1",
		"payment.tax":               "POST tax/calculations,POST tax/transactions,GET tax/calculations/1,GET tax/transactions/1,POST tax_rates,POST tax_rates/1,GET tax_rates,GET tax_rates/1",
		"customer.read":             "GET customers,GET customers/1,GET customers/1/payment_methods,GET customers/search",
		"customer.write":            "POST customers,POST customers/1,DELETE customers/1",
		"account.permission.change": "POST webhook_endpoints,POST webhook_endpoints/1,DELETE webhook_endpoints/1,POST accounts,POST accounts/1,DELETE accounts/1,POST radar/value_lists,POST radar/value_lists/1,DELETE radar/value_lists/1",
		"":                          "DELETE charges/1,GET accounts,POST balance,GET nothing,POST payment_intents/1",
	} {
		for c := range strings.SplitSeq(calls, ",") {
			method, path, _ := strings.Cut(c, " ")
			expect(t, table, method, "http://api.stripe.com/v1/"+path, class)
		}
	}
	expect(t, table, "CONNECT", "api.stripe.com:443", "payment.transfer")
	if table.Len() != 89 {
		t.Errorf("%d rules", table.Len())
	}
}

func TestShippedGmail(t *testing.T) {
	table := shipped(t, "gmail")
	for class, calls := range map[action.Class]string{
		"communication.external.read": "GET profile,GET messages,GET messages/1,GET messages/1/attachments/2,GET drafts,GET drafts/1,GET threads,GET threads/1," +
			"GET labels,GET labels/1,GET history,GET settings/filters,GET settings/filters/1",
		"communication.external.send":  "POST messages/send,POST drafts/send",
		"communication.external.draft": "POST drafts,PUT drafts/1,DELETE drafts/1",
		"communication.external.manage": "POST messages/1/modify,POST messages/batchModify,POST messages/1/trash,POST messages/1/untrash,POST threads/1/modify," +
			"POST threads/1/trash,POST threads/1/untrash,POST labels,PUT labels/1,PATCH labels/1,DELETE labels/1",
		"communication.external.delete": "DELETE messages/1,POST messages/batchDelete,DELETE threads/1",
		"communication.external.filter": "POST settings/filters,DELETE settings/filters/1",
		"account.permission.change": "POST settings/delegates,DELETE settings/delegates/1,PUT settings/autoForwarding,POST settings/forwardingAddresses," +
			"DELETE settings/forwardingAddresses/1,POST watch,POST stop",
		"": "POST messages/import,POST messages/1,PUT settings/vacation,GET settings/delegates",
	} {
		for c := range strings.SplitSeq(calls, ",") {
			method, path, _ := strings.Cut(c, " ")
			expect(t, table, method, "http://gmail.googleapis.com/gmail/v1/users/me/"+path, class)
		}
	}
	expect(t, table, "CONNECT", "gmail.googleapis.com:443", "account.permission.change")
	expect(t, table, "POST", "http://gmail.googleapis.com/upload/gmail/v1/users/me/messages/send", "")
	if table.Len() != 42 {
		t.Errorf("%d rules", table.Len())
	}
	c := call(t, "POST", "http://gmail.googleapis.com/gmail/v1/users/me/messages/send")
	if err := c.SetOverride("DELETE"); err != nil {
		t.Fatal(err)
	}
	if r, _ := table.Match(&c); r.ActionClass != "communication.external.delete" {
		t.Errorf("DELETE by override of a send: %q", r.ActionClass)
	}
}

func TestShippedEditors(t *testing.T) {
	table := shipped(t, "copilot", "vscode")
	for _, host := range []string{"api.individual.githubcopilot.com", "telemetry.individual.githubcopilot.com", "api.github.com", "github.com",
		"uploads.github.com", "update.code.visualstudio.com", "raw.githubusercontent.com", "acme.ghe.com", "api.acme.ghe.com", "login.microsoftonline.com"} {
		expect(t, table, "CONNECT", host+":443", "communication.external.send")
		expect(t, table, "GET", "http://"+host+"/", "")
	}
	for _, host := range []string{"ghe.com", "githubusercontent.com", "evilgithub.com", "a.b.github.com"} {
		expect(t, table, "CONNECT", host+":443", "")
	}
	// Beside the finer rules the tunnel keeps the more powerful class.
	both := shipped(t, "copilot", "github", "vscode")
	expect(t, both, "CONNECT", "api.github.com:443", "repo.admin")
	expect(t, both, "GET", "http://api.github.com/repos/o/r", "code.read")
}
