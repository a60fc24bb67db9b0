// The same frames to our server and to graphql-ws' own: both must say the same and close with the same code.
import { buildSchema } from 'graphql'
import { useServer } from 'graphql-ws/use/ws'
import WebSocket, { WebSocketServer } from 'ws'
import { assert, bearer, check, key, report, socketUrl } from './checks.mjs'

const theirs = new WebSocketServer({ port: 0, host: '127.0.0.1' })
useServer(
  {
    schema: buildSchema('type Query { a: String } type Subscription { s: String }'),
    roots: { subscription: { s: async function* () { yield { s: await new Promise(() => {}) } } } },
    onConnect: ({ connectionParams }) => connectionParams?.authorization === `Bearer ${key}`,
  },
  theirs,
)
await new Promise((open) => theirs.on('listening', open))
const theirUrl = `ws://127.0.0.1:${theirs.address().port}`

const INIT = { type: 'connection_init', payload: bearer }
const ASK = { type: 'subscribe', id: '1', payload: { query: '{ __typename }' } }
const SILENT = { query: 'a subscription in which nothing happens' }
const QUIET = 400

// What a server says to frames, in words both servers share: message types with ids and payloads that compare.
function conversation(to, frames, protocol = 'graphql-transport-ws') {
  return new Promise((done) => {
    const heard = []
    const socket = new WebSocket(to, protocol)
    let quiet
    const end = () => {
      clearTimeout(quiet)
      // operations run side by side: each id's messages in their order, whichever came first
      done([...heard].sort((one, other) => (one.id && other.id ? one.id.localeCompare(other.id) : 0)))
      socket.removeAllListeners('close')
      socket.terminate()
    }
    const listen = () => { clearTimeout(quiet); quiet = setTimeout(end, QUIET) }
    let next = 0
    const send = () => {
      while (next < frames.length) {
        const frame = frames[next++]
        socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame))
        if (frame === INIT) return // the rest when it is answered
      }
    }
    socket.on('open', () => { listen(); send() })
    socket.on('message', (data) => {
      const message = JSON.parse(data)
      const { type, id, payload } = message
      heard.push({ type, ...(id && { id }), ...(type !== 'error' && payload && { payload }) })
      listen()
      if (type === 'connection_ack') send()
    })
    socket.on('close', (code) => { heard.push({ closed: code }); end() })
    socket.on('error', () => {})
  })
}

const watching = (frames, field) =>
  frames.map((frame) => (frame.payload === SILENT ? subscribe({ query: `subscription { ${field} }` }) : frame))
const subscribe = (payload, id = '1') => ({ type: 'subscribe', id, payload })
const CASES = {
  'an operation': [INIT, ASK],
  'two operations, one after the other, with one id': [INIT, ASK, { ...ASK, id: '2' }],
  'init without a payload': [{ type: 'connection_init' }],
  'init with a null payload': [{ type: 'connection_init', payload: null }],
  'init with text for a payload': [{ type: 'connection_init', payload: 'x' }],
  'init with a list for a payload': [{ type: 'connection_init', payload: [] }],
  'init with a wrong key': [{ type: 'connection_init', payload: { authorization: 'Bearer df_a_b' } }],
  'two inits': [INIT, { type: 'connection_init', payload: bearer }],
  'subscribe before init': [ASK],
  'complete before init': [{ type: 'complete', id: '1' }],
  'ping before init': [{ type: 'ping' }],
  'ping with a payload': [INIT, { type: 'ping', payload: { at: 1 } }],
  'ping with text for a payload': [INIT, { type: 'ping', payload: 'x' }],
  'ping with a list for a payload': [INIT, { type: 'ping', payload: [] }],
  'ping with a null payload': [INIT, { type: 'ping', payload: null }],
  'pong': [INIT, { type: 'pong' }],
  'pong with a number for a payload': [INIT, { type: 'pong', payload: 7 }],
  'complete of what never began': [INIT, { type: 'complete', id: 'x' }],
  'complete without an id': [INIT, { type: 'complete' }],
  'complete with an empty id': [INIT, { type: 'complete', id: '' }],
  'an id in use': [INIT, subscribe(SILENT), ASK],
  'an id that was completed': [INIT, subscribe(SILENT), { type: 'complete', id: '1' }, ASK],
  'subscribe without an id': [INIT, { type: 'subscribe', payload: ASK.payload }],
  'subscribe with an empty id': [INIT, { ...ASK, id: '' }],
  'subscribe with a number for an id': [INIT, { ...ASK, id: 1 }],
  'subscribe without a payload': [INIT, { type: 'subscribe', id: '1' }],
  'subscribe with a null payload': [INIT, subscribe(null)],
  'subscribe with a list for a payload': [INIT, subscribe([])],
  'subscribe without a query': [INIT, subscribe({})],
  'subscribe with a null query': [INIT, subscribe({ query: null })],
  'subscribe with a number for a query': [INIT, subscribe({ query: 1 })],
  'variables that are a list': [INIT, subscribe({ ...ASK.payload, variables: [] })],
  'variables that are text': [INIT, subscribe({ ...ASK.payload, variables: '{}' })],
  'variables that are null': [INIT, subscribe({ ...ASK.payload, variables: null })],
  'an operation name that is a number': [INIT, subscribe({ ...ASK.payload, operationName: 1 })],
  'an operation name that is null': [INIT, subscribe({ ...ASK.payload, operationName: null })],
  'extensions that are text': [INIT, subscribe({ ...ASK.payload, extensions: 'x' })],
  'extensions that are a list': [INIT, subscribe({ ...ASK.payload, extensions: [] })],
  'extensions that are null': [INIT, subscribe({ ...ASK.payload, extensions: null })],
  'extensions': [INIT, subscribe({ ...ASK.payload, extensions: { trace: 'x' } })],
  'an unknown field': [INIT, subscribe({ query: '{ nothing }' }), { ...ASK, id: '2' }],
  'what only servers send: next': [INIT, { type: 'next', id: '1', payload: { data: {} } }],
  'what only servers send: error': [INIT, { type: 'error', id: '1', payload: [{ message: 'x' }] }],
  'what only servers send: connection_ack': [INIT, { type: 'connection_ack' }],
  'an unknown type': [INIT, { type: 'nonsense' }],
  'a type that is a number': [INIT, { type: 1 }],
  'no type': [INIT, {}],
  'no JSON': [INIT, '{'],
  'nothing': [INIT, ''],
  'a JSON number': [INIT, '7'],
  'a JSON null': [INIT, 'null'],
  'a JSON list': [INIT, '[]'],
  'a JSON text': [INIT, '"connection_init"'],
}
// Where theirs closes with 4500, as if the fault were its own.
const STRICTER = [{ type: 'connection_ack' }, { closed: 4400 }]
const OURS = {
  'what only servers send: next': STRICTER,
  'what only servers send: error': STRICTER,
  'what only servers send: connection_ack': STRICTER,
}
for (const [name, frames] of Object.entries(CASES)) {
  check(name, async () => {
    const [said, expected] = await Promise.all([
      conversation(socketUrl, watching(frames, 'bookingUpdated { kind }')),
      conversation(theirUrl, watching(frames, 's')),
    ])
    assert.deepEqual(said, OURS[name] ?? expected)
  })
}
for (const protocol of ['graphql-ws', 'nonsense', []]) {
  check(`subprotocol ${protocol}`, async () => {
    const [said, expected] = await Promise.all([socketUrl, theirUrl].map((to) => conversation(to, [], protocol)))
    assert.deepEqual(said, expected)
  })
}
await report()
