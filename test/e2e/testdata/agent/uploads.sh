# uploads.sh CLIENT URL: twenty uploads of 50 MB; how often which status came.
head -c 52428800 /dev/zero > /tmp/big
case $1 in
curl)
	for i in $(seq 20); do
		curl -sS --http1.1 -o /dev/null -w '%{http_code}\n' -H Expect: -T /tmp/big "$2" || echo failed
	done
	;;
requests)
	/usr/bin/python3 -c '
import requests, sys
for _ in range(20):
    print(requests.put(sys.argv[1], data=open("/tmp/big", "rb")).status_code)
' "$2"
	;;
fetch)
	node -e '
const body = require("fs").readFileSync("/tmp/big");
(async () => {
	for (let i = 0; i < 20; i++) {
		const r = await fetch(process.argv[1], { method: "PUT", body });
		await r.text();
		console.log(r.status);
	}
})()' "$2"
	;;
esac | sort | uniq -c | sed 's/^ *//'
