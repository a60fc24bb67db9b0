// Server-sent events: graphql-sse's client, urql over fetch, and the stream as it is on the wire.
import { Client, fetchExchange } from '@urql/core'
import { createClient } from 'graphql-sse'
import {
  ADMIN, PEOPLE, SIGN, VIEWER, WATCH, assert, bearer, check, frontDoor, isEvent, membership, newcomer, report, url,
} from './checks.mjs'

const client = (options = {}) => createClient({ url, headers: bearer, retryAttempts: 0, ...options })
const first = async (stream) => (await stream.next()).value
const variables = { id: membership }
const fails = async (stream) => {
  try {
    return (await first(stream)).errors
  } catch (error) {
    return error
  }
}

check('graphql-sse: a query, and its end', async () => {
  const stream = client().iterate({ query: VIEWER })
  assert.deepEqual(await first(stream), { data: ADMIN })
  assert.equal((await stream.next()).done, true)
})
check('graphql-sse: variables', async () => {
  const { data } = await first(client().iterate({ query: PEOPLE, variables: { first: 1 }, operationName: 'People' }))
  assert.ok(data.users.totalCount >= 2)
})
check('graphql-sse: a mutation', async () => {
  const { data } = await first(client().iterate({ query: SIGN, variables: newcomer() }))
  assert.equal(data.createUser.user.firstName, 'New')
})
check('graphql-sse: a subscription', async () => {
  const stream = client().iterate({ query: WATCH, variables })
  isEvent((await first(stream)).data, 'SNAPSHOT')
  isEvent((await first(stream)).data, 'MembershipStatusChanged')
  await stream.return()
})
for (const [what, payload, code] of [
  ['a syntax error', { query: '{' }, 'GRAPHQL_PARSE_FAILED'],
  ['an unknown field', { query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED'],
  ['a wrong variable of a query', { query: PEOPLE, variables: { first: 'x' } }, 'BAD_USER_INPUT'],
  ['an unknown subject', { query: WATCH, variables: { id: 'nonsense' } }, 'BAD_USER_INPUT'],
  ['a missing variable of a subscription', {
    query: 'subscription ($t: [LiveTopic!]!) { events(topics: $t) { kind } }',
  }, 'BAD_USER_INPUT'],
]) {
  check(`graphql-sse: ${what} is told as GraphQL's error`, async () => {
    const [error] = await fails(client().iterate(payload))
    assert.equal(error.extensions.code, code)
  })
}
check('graphql-sse: who is nobody is told 401', async () => {
  const error = await fails(client({ headers: {} }).iterate({ query: VIEWER }))
  assert.match(String(error.message ?? error[0].message), /Unauthorized|live key/)
})
check('graphql-sse: a subscription comes back by itself after a cut', async () => {
  const door = await frontDoor()
  const stream = client({ url: door.url, retryAttempts: 5, retry: async () => {} }).iterate({ query: WATCH, variables })
  isEvent((await first(stream)).data, 'SNAPSHOT')
  door.cut()
  let told = isEvent((await first(stream)).data)
  while (told.kind !== 'SNAPSHOT') told = isEvent((await first(stream)).data)
  isEvent((await first(stream)).data, 'MembershipStatusChanged')
  await stream.return()
  door.close()
})
check('graphql-sse: a hundred streams are left without harm', async () => {
  const streams = [...Array(100)].map(() => client().iterate({ query: WATCH, variables }))
  await Promise.all(streams.map(async (stream) => isEvent((await first(stream)).data, 'SNAPSHOT')))
  await Promise.all(streams.map((stream) => stream.return()))
  assert.deepEqual(await first(client().iterate({ query: VIEWER })), { data: ADMIN })
})

const urql = (options = {}) => new Client({
  url, exchanges: [fetchExchange], fetchOptions: { headers: bearer }, preferGetMethod: false,
  fetchSubscriptions: true, ...options,
})
check('urql: a subscription over fetch', async () => {
  const kinds = []
  await new Promise((done, no) => {
    const { unsubscribe } = urql().subscription(WATCH, variables).subscribe(({ data, error }) => {
      if (error) return no(error)
      kinds.push(isEvent(data).kind)
      if (kinds.length === 3) { setTimeout(() => { unsubscribe(); done() }) }
    })
  })
  assert.deepEqual(kinds, ['SNAPSHOT', 'MembershipStatusChanged', 'MembershipStatusChanged'])
})
check('urql: a refused subscription is an error', async () => {
  const error = await new Promise((done) => {
    urql().subscription(WATCH, { id: 'nonsense' }).subscribe((result) => result.error && done(result.error))
  })
  assert.equal(error.graphQLErrors[0].extensions.code, 'BAD_USER_INPUT')
})

const raw = (query, headers = {}, more = {}) => fetch(url, {
  method: 'POST',
  headers: { ...bearer, 'content-type': 'application/json', accept: 'text/event-stream', ...headers },
  body: JSON.stringify({ query, ...more }),
})
async function frames(response, count) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  while (text.split('\n\n').length <= count) {
    const { done, value } = await reader.read()
    if (done) break
    text += value
  }
  await reader.cancel()
  return text.split('\n\n').slice(0, count)
}
check('the wire: media type, charset, no cache, nothing buffered', async () => {
  const response = await raw(VIEWER)
  assert.equal(response.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  assert.equal(response.headers.get('cache-control'), 'no-store')
  assert.equal(response.headers.get('x-accel-buffering'), 'no')
  await response.text()
})
check('the wire: lines end in LF alone', async () => {
  assert.equal(await (await raw(VIEWER)).text(), `event: next\ndata: ${JSON.stringify({ data: ADMIN })}\n\nevent: complete\ndata:\n\n`)
})
check('the wire: each event has its cursor as id, and Last-Event-ID goes on behind it', async () => {
  const told = (frame) => ({ id: /^id: (.+)$/m.exec(frame)[1], ...JSON.parse(/^data: (.+)$/m.exec(frame)[1]) })
  const [, second] = (await frames(await raw(WATCH, {}, { variables }), 2)).map(told)
  assert.equal(second.id, second.data.membershipStatusChanged.cursor)
  const [third] = (await frames(await raw(WATCH, { 'last-event-id': second.id }, { variables }), 1)).map(told)
  assert.equal(third.data.membershipStatusChanged.kind, 'MembershipStatusChanged')
  assert.notEqual(third.id, second.id)
})
check('the wire: by GET as by POST', async () => {
  const response = await fetch(`${url}?query=${encodeURIComponent(VIEWER)}`, {
    headers: { ...bearer, accept: 'text/event-stream' },
  })
  assert.match(await response.text(), /^event: next\ndata: .*\n\nevent: complete\ndata:\n\n$/)
})
await report()
