#!/usr/bin/env bash
# A service, an issuer, an agent and its worker, from nothing to a revocation, in one folder that this makes.
# Usage: examples/service/walkthrough.sh [FOLDER]   (`chain` must be on the PATH, or its folder in $BIN)
set -euo pipefail
PATH="${BIN:-$(pwd)/.venv/bin}:$PATH"
here=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$(mktemp -d)}"

# Keys: one file each, mode 0600. Secrets: the caller keeps the file, the configuration holds its SHA-256.
for name in issuer agent worker; do chain keygen "$name.key" --public "$name.jwk" >/dev/null; done
for name in issuer agent mail; do
  chain credential "$name.secret" --json | sed 's/.*"sha256": *"\([0-9a-f]*\)".*/\1/' >"$name.sha256"
done
echo '{"mail.read": {"class": "read", "sensitivity": "moderate", "target": "mail"}, "mail.send": "act"}' >catalogue.json
sed -e "s/ISSUER_SHA256/$(cat issuer.sha256)/" -e "s/AGENT_SHA256/$(cat agent.sha256)/" \
  -e "s/MAIL_SHA256/$(cat mail.sha256)/" "$here/chain.toml" >chain.toml

chain serve --config chain.toml --listen 127.0.0.1:0 >serving 2>serve.log &
server=$!
trap 'kill $server 2>/dev/null; wait $server || true' EXIT
for _ in $(seq 100); do [ -s serving ] && break; sleep 0.1; done
at=$(sed 's/.*"serving": *"\([^"]*\)".*/\1/' serving)
as() { echo "--server $at --credential-file $1.secret"; }
ask() { # what the mail server asks before it does anything
  chain check mail.read "$1" --purpose reporting --chain worker.chain --key worker.key \
    --audience https://mail.example $(as mail) || true
}

folders='{"constraint_type": "one_of", "values": ["inbox", "receipts"]}'

echo "# alice's office issues a task's root grant to the agent; it lives as long as the most sensitive tool allows"
chain issue --to agent.jwk --task t-1 --sub alice --owner office $(as issuer) \
  --grant '{"tools": {"mail.read": {"folder": '"$folders"'}}, "limits": {"purposes": ["reporting"]}}' >root.chain

echo "# the agent hands less of it on to its worker, for ten minutes"
chain delegate --chain root.chain --key agent.key --to worker.jwk --lifetime 10m $(as agent) \
  --grant '{"tools": {"mail.read": {"folder": {"constraint_type": "exact", "value": "receipts"}}}}' >worker.chain

echo "# the worker reads receipts"
ask '{"folder": "receipts"}'
echo "# the worker tries the inbox"
ask '{"folder": "inbox"}'
echo "# what the worker holds"
chain inspect worker.chain --anchor issuer.jwk
echo "# the office revokes the root, and with it everything beneath"
chain revoke "$(head -n 1 root.chain)" --reason "task done" $(as issuer)
ask '{"folder": "receipts"}'
