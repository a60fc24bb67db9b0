// A phone's client: sends the hash of a query instead of the query, and the query itself only when it is not known yet.
//
//   node persisted.mjs https://club.example/graphql df_...
import { createHash } from "node:crypto";

const [url, key] = process.argv.slice(2);
// Answers after which the whole query is sent: not known yet, or a server that keeps none.
const SEND_IT = new Set(["PERSISTED_QUERY_NOT_FOUND", "PERSISTED_QUERY_NOT_SUPPORTED", "BAD_REQUEST"]);

async function post(body) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(20_000),
  });
  return answer.json();
}

export async function ask(query, variables = {}) {
  const sha256Hash = createHash("sha256").update(query).digest("hex");
  const extensions = { persistedQuery: { version: 1, sha256Hash } };
  let told = await post({ variables, extensions });
  let sent = "hash";
  if (SEND_IT.has(told.errors?.[0]?.extensions?.code)) {
    told = await post({ query, variables, extensions });
    sent = "query";
  }
  if (told.errors) throw new Error(told.errors[0].message);
  return { sent, data: told.data };
}

const MINE = "query Mine($first: Int!) { memberships(first: $first) { nodes { status type { name } } } }";
for (let turn = 0; turn < 2; turn += 1) {
  console.log(JSON.stringify(await ask(MINE, { first: 5 })));
}
