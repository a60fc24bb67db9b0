// What every suite shares: the served API's address, a check, and a way to cut its clients off.
// A suite is a program that prints one JSON line per check: {"name", "ok"} or {"name", "ok": false, "why"}.
import assert from 'node:assert/strict'
import net from 'node:net'

export { assert }
export const { url, key, membership } = JSON.parse(process.env.DUEFLOW_API)
export const bearer = { authorization: `Bearer ${key}` }
export const socketUrl = url.replace('http', 'ws')

export const VIEWER = '{ viewer { role } }'
export const PEOPLE = 'query People($first: Int!) { users(first: $first) { totalCount } }'
export const SIGN = `mutation Sign($input: CreateUserInput!) {
  createUser(input: $input) { user { id firstName } userErrors { code field } } }`
export const WATCH = `subscription Watch($id: ID, $after: String) {
  membershipStatusChanged(membershipId: $id, after: $after) { kind cursor membership { id status } } }`
export const ADMIN = { viewer: { role: 'ADMIN' } }

let born = 0
export const newcomer = () => ({
  input: { firstName: 'New', lastName: 'Comer', email: `p${process.pid}t${Date.now()}n${born++}@example.test` },
})

const SECONDS = 15
const all = []

export function check(name, run) {
  all.push([name, run])
}

export async function report() {
  for (const [name, run] of all) {
    let timer
    const late = new Promise((_, no) => {
      timer = setTimeout(() => no(new Error(`nothing after ${SECONDS} s`)), SECONDS * 1000)
    })
    try {
      await Promise.race([run(), late])
      console.log(JSON.stringify({ name, ok: true }))
    } catch (error) {
      console.log(JSON.stringify({ name, ok: false, why: String(error?.stack ?? error).slice(0, 2000) }))
    } finally {
      clearTimeout(timer)
    }
  }
  process.exit(0)
}

// An event of the watched membership, whatever client brought it.
export function isEvent(data, kind) {
  const { membershipStatusChanged: event } = data
  assert.equal(event.membership.id, membership)
  assert.match(event.cursor, /./)
  if (kind) assert.equal(event.kind, kind)
  return event
}

// A door before the API whose guests can be thrown out all at once.
export async function frontDoor() {
  const { hostname, port } = new URL(url)
  const guests = new Set()
  const server = net.createServer((guest) => {
    const inside = net.connect(Number(port), hostname)
    guests.add(guest)
    for (const [one, other] of [[guest, inside], [inside, guest]]) {
      one.pipe(other)
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
    guest.on('close', () => guests.delete(guest))
  })
  await new Promise((open) => server.listen(0, '127.0.0.1', open))
  const at = `http://127.0.0.1:${server.address().port}`
  return {
    url: `${at}/graphql`,
    socketUrl: `${at.replace('http', 'ws')}/graphql`,
    cut: () => guests.forEach((guest) => guest.destroy()),
    close: () => { server.close(); guests.forEach((guest) => guest.destroy()) },
  }
}
