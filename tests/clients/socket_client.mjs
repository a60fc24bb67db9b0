// graphql-ws, the client: operations, their ends, errors, and coming back after a cut.
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'
import {
  ADMIN, PEOPLE, SIGN, VIEWER, WATCH, assert, bearer, check, frontDoor, isEvent, membership, newcomer, report, socketUrl,
} from './checks.mjs'

const made = []
function client(options = {}) {
  const one = createClient({
    url: socketUrl, webSocketImpl: WebSocket, connectionParams: bearer, retryAttempts: 0, ...options,
  })
  made.push(one)
  return one
}
const first = async (stream) => (await stream.next()).value
const closed = (options) =>
  new Promise((done) => client({ lazy: false, onNonLazyError: done, ...options }).on('closed', done))

check('a query', async () => {
  assert.deepEqual(await first(client().iterate({ query: VIEWER })), { data: ADMIN })
})
check('variables and the name of an operation', async () => {
  const query = `${PEOPLE} query Other { __typename }`
  const told = await first(client().iterate({ query, variables: { first: 1 }, operationName: 'People' }))
  assert.ok(told.data.users.totalCount >= 2)
})
check('a mutation', async () => {
  const { data } = await first(client().iterate({ query: SIGN, variables: newcomer() }))
  assert.equal(data.createUser.user.firstName, 'New')
})
check('a refusal is data, not an error', async () => {
  const input = { ...newcomer().input, email: 'nonsense' }
  const told = await first(client().iterate({ query: SIGN, variables: { input } }))
  assert.equal(told.errors, undefined)
  assert.deepEqual(told.data.createUser.userErrors.map((error) => error.field), [['email']])
})
check('a query completes its stream', async () => {
  const stream = client().iterate({ query: VIEWER })
  await stream.next()
  assert.deepEqual(await stream.next(), { done: true, value: undefined })
})
check('a subscription begins with the present and goes on', async () => {
  const stream = client().iterate({ query: WATCH, variables: { id: membership } })
  isEvent((await first(stream)).data, 'SNAPSHOT')
  isEvent((await first(stream)).data, 'MembershipStatusChanged')
  isEvent((await first(stream)).data, 'MembershipStatusChanged')
  await stream.return()
})
check('many operations on one socket, each with its own answers', async () => {
  let sockets = 0
  const one = client({ on: { opened: () => sockets++ } })
  const answers = await Promise.all([...Array(20)].map((_, n) =>
    first(one.iterate({ query: `{ a${n}: __typename }` }))))
  assert.deepEqual(answers, [...Array(20)].map((_, n) => ({ data: { [`a${n}`]: 'Query' } })))
  assert.equal(sockets, 1)
})
check('a subscription that is left leaves the others alone', async () => {
  const one = client()
  const stays = one.iterate({ query: WATCH, variables: { id: membership } })
  const goes = one.iterate({ query: WATCH, variables: { id: membership } })
  await first(stays)
  await first(goes)
  await goes.return()
  isEvent((await first(stays)).data, 'MembershipStatusChanged')
  await stays.return()
})
for (const [what, payload, code] of [
  ['a syntax error', { query: '{' }, 'GRAPHQL_PARSE_FAILED'],
  ['an unknown field', { query: '{ nothing }' }, 'GRAPHQL_VALIDATION_FAILED'],
  ['a wrong variable', { query: PEOPLE, variables: { first: 'x' } }, 'BAD_USER_INPUT'],
  ['an unknown operation', { query: VIEWER, operationName: 'Nobody' }, 'OPERATION_RESOLUTION_FAILURE'],
  ['an unknown subject', { query: WATCH, variables: { id: 'nonsense' } }, 'BAD_USER_INPUT'],
]) {
  check(`${what} ends its operation, and the socket serves on`, async () => {
    const one = client({ lazyCloseTimeout: 5000 })
    let sockets = 0
    one.on('opened', () => sockets++)
    let errors
    try {
      ;({ errors } = await first(one.iterate(payload)))
    } catch (thrown) {
      errors = thrown
    }
    assert.equal(errors[0].extensions.code, code)
    assert.deepEqual(await first(one.iterate({ query: VIEWER })), { data: ADMIN })
    assert.equal(sockets, 1)
  })
}
check('pings are answered', async () => {
  const one = client({ lazy: false, keepAlive: 50 })
  await new Promise((pong) => one.on('pong', (received) => received && pong()))
})
check('who is nobody is closed 4403', async () => {
  assert.equal((await closed({ connectionParams: { authorization: 'Bearer df_a_b' } })).code, 4403)
})
check('after 4403 the client asks for its token anew and comes in', async () => {
  let asked = 0
  const one = client({
    retryAttempts: 3,
    retryWait: async () => {},
    connectionParams: () => (asked++ ? bearer : { authorization: 'Bearer df_a_b' }),
  })
  assert.deepEqual(await first(one.iterate({ query: VIEWER })), { data: ADMIN })
  assert.equal(asked, 2)
})
check('a subscription comes back by itself after a cut', async () => {
  const door = await frontDoor()
  let sockets = 0
  const one = client({ url: door.socketUrl, retryAttempts: 5, retryWait: async () => {}, on: { opened: () => sockets++ } })
  const stream = one.iterate({ query: WATCH, variables: { id: membership } })
  isEvent((await first(stream)).data, 'SNAPSHOT')
  door.cut()
  let told = isEvent((await first(stream)).data)
  while (told.kind !== 'SNAPSHOT') told = isEvent((await first(stream)).data)
  isEvent((await first(stream)).data, 'MembershipStatusChanged')
  assert.equal(sockets, 2)
  await stream.return()
  door.close()
})
check('a cursor goes on behind the last event, with no event twice', async () => {
  const one = client()
  let stream = one.iterate({ query: WATCH, variables: { id: membership } })
  const seen = []
  for (let n = 0; n < 3; n++) seen.push(isEvent((await first(stream)).data).cursor)
  await stream.return()
  stream = one.iterate({ query: WATCH, variables: { id: membership, after: seen[2] } })
  for (let n = 0; n < 3; n++) seen.push(isEvent((await first(stream)).data, 'MembershipStatusChanged').cursor)
  await stream.return()
  assert.equal(new Set(seen).size, 6)
})
check('a client that leaves closes with 1000', async () => {
  const one = client({ lazy: false })
  const event = new Promise((done) => one.on('closed', done))
  await new Promise((done) => one.on('connected', done))
  one.dispose()
  assert.equal((await event).code, 1000)
})
await report()
