// Apollo Client: its links over HTTP, GET, persisted queries and WebSocket.
import { ApolloClient, ApolloLink, HttpLink, InMemoryCache, gql } from '@apollo/client'
import { CombinedGraphQLErrors, ServerError } from '@apollo/client/errors'
import { PersistedQueryLink } from '@apollo/client/link/persisted-queries'
import { GraphQLWsLink } from '@apollo/client/link/subscriptions'
import { createHash } from 'node:crypto'
import { createClient } from 'graphql-ws'
import WebSocket from 'ws'
import {
  PEOPLE, SIGN, VIEWER, WATCH, assert, bearer, check, frontDoor, isEvent, membership, newcomer, report, socketUrl, url,
} from './checks.mjs'

globalThis.WebSocket ??= WebSocket // its link asks what an error is an instance of

const http = (options = {}) => new HttpLink({ uri: url, headers: bearer, ...options })
const over = (link) => new ApolloClient({ link, cache: new InMemoryCache({ possibleTypes: { Node: ['User'] } }) })
const socket = (options = {}) =>
  new GraphQLWsLink(createClient({
    url: socketUrl, webSocketImpl: WebSocket, connectionParams: bearer, retryWait: async () => {}, ...options,
  }))
const fails = (promise) => promise.then(() => assert.fail('it was answered'), (error) => error)

check('a query', async () => {
  const { data } = await over(http()).query({ query: gql(VIEWER) })
  assert.equal(data.viewer.role, 'ADMIN')
})
check('variables', async () => {
  const { data } = await over(http()).query({ query: gql(PEOPLE), variables: { first: 1 } })
  assert.ok(data.users.totalCount >= 2)
})
check('queries by GET', async () => {
  const { data } = await over(http({ useGETForQueries: true })).query({ query: gql(PEOPLE), variables: { first: 1 } })
  assert.ok(data.users.totalCount >= 2)
})
check('a mutation, and its object in the cache by its id', async () => {
  const client = over(http())
  const { data } = await client.mutate({ mutation: gql(SIGN), variables: newcomer() })
  const { id } = data.createUser.user
  const fragment = gql('fragment F on User { firstName }')
  assert.equal(client.readFragment({ id: `User:${id}`, fragment }).firstName, 'New')
})
for (const [what, query, code] of [
  ['a syntax that is only ours to judge', '{ users(first: 1000) { totalCount } }', 'BAD_USER_INPUT'],
  ['an unknown field', '{ nothing }', 'GRAPHQL_VALIDATION_FAILED'],
]) {
  for (const method of ['POST', 'GET']) {
    check(`${what} by ${method} is an error with our code`, async () => {
      const error = await fails(over(http({ useGETForQueries: method === 'GET' })).query({ query: gql(query) }))
      assert.ok(CombinedGraphQLErrors.is(error), String(error))
      assert.equal(error.errors[0].extensions.code, code)
    })
  }
}
check('errorPolicy all gives both, and a failed list leaves nothing beside it', async () => {
  const query = gql('{ viewer { role } users(first: 1000) { totalCount } }')
  const { data, error } = await over(http()).query({ query, errorPolicy: 'all' })
  assert.ok(CombinedGraphQLErrors.is(error))
  assert.equal(data, null)
})
check('who is nobody is told 401', async () => {
  const error = await fails(over(http({ headers: {} })).query({ query: gql(VIEWER) }))
  assert.ok(ServerError.is(error) || CombinedGraphQLErrors.is(error), String(error))
})
check('the persisted-queries link comes to its answer', async () => {
  const sha256 = (text) => createHash('sha256').update(text).digest('hex')
  const link = ApolloLink.from([new PersistedQueryLink({ sha256 }), http()])
  for (let n = 0; n < 2; n++) {
    const { data } = await over(link).query({ query: gql('{ viewer { name role } }') })
    assert.equal(data.viewer.role, 'ADMIN')
  }
})
check('a query over the socket', async () => {
  const { data } = await over(socket()).query({ query: gql(VIEWER) })
  assert.equal(data.viewer.role, 'ADMIN')
})
check('an error over the socket', async () => {
  const error = await fails(over(socket()).query({ query: gql('{ nothing }') }))
  assert.equal(error.errors?.[0].extensions.code, 'GRAPHQL_VALIDATION_FAILED', String(error))
})
check('a subscription over the socket, back by itself after a cut', async () => {
  const door = await frontDoor()
  const kinds = []
  await new Promise((done, no) => {
    const watched = over(socket({ url: door.socketUrl })).subscribe({ query: gql(WATCH), variables: { id: membership } })
    const watching = watched.subscribe({
      next: ({ data, error }) => {
        if (error) return no(error)
        kinds.push(isEvent(data).kind)
        if (kinds.length === 2) door.cut()
        if (kinds.filter((kind) => kind === 'SNAPSHOT').length === 2) { watching.unsubscribe(); done() }
      },
      error: no,
    })
  })
  assert.deepEqual(kinds.slice(0, 2), ['SNAPSHOT', 'MembershipStatusChanged'])
  door.close()
})
check('a refused subscription is an error', async () => {
  const error = await new Promise((done, no) => {
    over(socket()).subscribe({ query: gql(WATCH), variables: { id: 'nonsense' } })
      .subscribe({ next: ({ error: told }) => (told ? done(told) : no(new Error('it was told'))), error: done })
  })
  assert.equal(error.errors[0].extensions.code, 'BAD_USER_INPUT')
})
await report()
