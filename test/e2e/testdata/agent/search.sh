# Looks for a word, given backwards, in everything an agent can read but the
# operating system's own files.
word=$(echo "$1" | rev)
grep -rslF --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=dev -- "$word" / 2>/dev/null
for f in /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/maps /proc/self/mountinfo; do
	tr '\0' '\n' <"$f" 2>/dev/null | grep -qF -- "$word" && echo "$f"
done
echo searched
