package action

// The classes that code names. The others appear in mapping rules and policies
// only.
const (
	AccountPermissionChange   Class = "account.permission.change"
	CodeDestructive           Class = "code.destructive"
	CodeRead                  Class = "code.read"
	CodeWrite                 Class = "code.write"
	CommunicationExternalSend Class = "communication.external.send"
	CredentialRead            Class = "credential.read"
	PaymentTransfer           Class = "payment.transfer"
	RepoAdmin                 Class = "repo.admin"
	SystemExecute             Class = "system.execute"
	SystemInstall             Class = "system.install"
)

type entry struct {
	class Class
	risk  Risk
	grave bool // forbidden by every shipped posture
}

// registry is sorted by class; the contract's action list is its source. The
// calendar and document classes have no documented risk: reading is taken as
// low, changing as medium, removing and changing a schema as high.
var registry = [...]entry{
	{"account.permission.change", Critical, true},
	{"browser.purchase", High, true},
	{"calendar.create", Medium, false},
	{"calendar.delete", High, false},
	{"calendar.read", Low, false},
	{"calendar.update", Medium, false},
	{"code.destructive", High, false},
	{"code.merge", Critical, false},
	{"code.read", Low, false},
	{"code.review.read", Low, false},
	{"code.review.submit", Medium, false},
	{"code.write", High, false},
	{"communication.external.delete", High, false},
	{"communication.external.draft", Medium, false},
	{"communication.external.filter", Critical, false},
	{"communication.external.manage", Medium, false},
	{"communication.external.read", Low, false},
	{"communication.external.send", High, false},
	{"communication.internal.send", Medium, false},
	{"credential.read", Medium, false},
	{"credential.write", Critical, true},
	{"customer.read", Low, false},
	{"customer.write", Medium, false},
	{"document.delete", High, false},
	{"document.read", Low, false},
	{"document.schema.write", High, false},
	{"document.write", Medium, false},
	{"filesystem.delete", High, false},
	{"filesystem.read", Low, false},
	{"filesystem.write", Medium, false},
	{"issue.read", Low, false},
	{"issue.write", Medium, false},
	{"memory.cross_namespace.read", Medium, true},
	{"memory.cross_namespace.write", High, true},
	{"notification.manage", Low, false},
	{"payment.cancel", High, false},
	{"payment.catalog.write", Medium, false},
	{"payment.dispute", High, false},
	{"payment.method.manage", Medium, false},
	{"payment.method.setup", Medium, false},
	{"payment.payout", Critical, false},
	{"payment.purchase", High, true},
	{"payment.read", Low, false},
	{"payment.refund", High, false},
	{"payment.subscription", High, false},
	{"payment.tax", Medium, false},
	{"payment.transfer", Critical, true},
	{"repo.admin", Critical, true},
	{"repo.lifecycle", Medium, false},
	{"security.alert.read", Medium, false},
	{"system.execute", Critical, false},
	{"system.install", High, false},
}
