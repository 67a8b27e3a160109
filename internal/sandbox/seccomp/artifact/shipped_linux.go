package artifact

const shippedName = "shipped:generic-local-command"

// Shipped is the source of the policy that every profile has by default. The
// second number of its version is the version of the base filter, so that a firma
// with another base looks for its artifact elsewhere.
//
// It denies no action: credential.write would refuse the setresuid(2) that GNU
// make does around every command, though it only names the caller's own ids, and
// would refuse nothing that a sandbox with one mapped id and no capabilities
// allows. docs/seccomp.md has the list of clients that were tried.
const Shipped = `# What firma run refuses on top of its base filter. The base is always on; see
# firma seccomp show.
policy_id = "generic-local-command"
policy_version = "1.3"
default_action = "allow"

# filesystem.delete and credential.write can be added in a policy of your own.
deny_actions = []

source_policy_refs = ["docs/seccomp.md"]
`
