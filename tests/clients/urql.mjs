// urql: queries, mutations and GET over fetch, subscriptions over graphql-ws.
import { Client, cacheExchange, fetchExchange, subscriptionExchange } from '@urql/core'
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'
import {
  PEOPLE, SIGN, VIEWER, WATCH, assert, bearer, check, frontDoor, isEvent, membership, newcomer, report, socketUrl, url,
} from './checks.mjs'

const client = (options = {}) => new Client({
  url, exchanges: [cacheExchange, fetchExchange], fetchOptions: { headers: bearer }, preferGetMethod: false, ...options,
})
function live(to = socketUrl) {
  const socket = createClient({
    url: to, webSocketImpl: WebSocket, connectionParams: bearer, retryWait: async () => {},
  })
  const forwardSubscription = ({ query, variables }) => ({
    subscribe: (sink) => ({ unsubscribe: socket.subscribe({ query, variables }, sink) }),
  })
  return client({ exchanges: [subscriptionExchange({ forwardSubscription, enableAllOperations: true })] })
}

for (const preferGetMethod of [false, 'force', 'within-url-limit']) {
  check(`a query, GET ${preferGetMethod}`, async () => {
    const { data, error } = await client({ preferGetMethod }).query(PEOPLE, { first: 1 })
    assert.equal(error, undefined)
    assert.ok(data.users.totalCount >= 2)
  })
  check(`an unknown field, GET ${preferGetMethod}`, async () => {
    const { error } = await client({ preferGetMethod }).query('{ nothing }', {})
    assert.equal(error.graphQLErrors[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED')
  })
}
check('a mutation', async () => {
  const { data } = await client().mutation(SIGN, newcomer())
  assert.equal(data.createUser.user.firstName, 'New')
})
check('a refusal is data', async () => {
  const { data, error } = await client().mutation(SIGN, { input: { ...newcomer().input, email: 'nonsense' } })
  assert.equal(error, undefined)
  assert.deepEqual(data.createUser.userErrors[0].field, ['email'])
})
check('a wrong variable is an error with its code', async () => {
  const { error } = await client().query(PEOPLE, { first: 'x' })
  assert.equal(error.graphQLErrors[0].extensions.code, 'BAD_USER_INPUT')
})
check('who is nobody is told so', async () => {
  const { error } = await client({ fetchOptions: {} }).query(VIEWER, {})
  assert.equal(error.response.status, 401)
  assert.equal(error.graphQLErrors[0].extensions.code, 'UNAUTHENTICATED')
})
check('a query over the socket', async () => {
  const { data } = await live().query(VIEWER, {})
  assert.equal(data.viewer.role, 'ADMIN')
})
check('a subscription over the socket, back by itself after a cut', async () => {
  const door = await frontDoor()
  const kinds = []
  await new Promise((done, no) => {
    const { unsubscribe } = live(door.socketUrl).subscription(WATCH, { id: membership }).subscribe(({ data, error }) => {
      if (error) return no(error)
      kinds.push(isEvent(data).kind)
      if (kinds.length === 2) door.cut()
      if (kinds.filter((kind) => kind === 'SNAPSHOT').length === 2) setTimeout(() => { unsubscribe(); done() })
    })
  })
  assert.deepEqual(kinds.slice(0, 2), ['SNAPSHOT', 'MembershipStatusChanged'])
  door.close()
})
await report()
