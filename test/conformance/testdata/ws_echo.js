// An echo by the ws library: server, or clients as its input asks for.
const http = require('http')
const net = require('net')
const readline = require('readline')
const WebSocket = require('/usr/share/nodejs/ws')

const most = 1 << 20 // bytes of a message
const echo = (ws) => {
  ws.on('message', (data, binary) => ws.send(data, { binary }))
  ws.on('error', () => {}) // ws has closed the connection as it must
}

const deflate = (o) => o && {
  threshold: 0,
  serverNoContextTakeover: o.server_no_context_takeover,
  clientNoContextTakeover: o.client_no_context_takeover,
  serverMaxWindowBits: o.server_max_window_bits,
  clientMaxWindowBits: o.client_max_window_bits
}

// talk sends messages of several sizes and kinds and has them come back.
async function talk (ws, sizes) {
  for (let i = 0; i < sizes.length; i++) {
    const text = `message ${i} `.repeat(sizes[i] / 8 + 1).slice(0, sizes[i])
    for (const binary of [false, true]) {
      const back = new Promise((resolve) => ws.once('message', (data, b) => resolve([data.toString(), b])))
      ws.send(binary ? Buffer.from(text) : text)
      const [got, b] = await back
      if (got !== text || b !== binary) throw new Error(`message ${i} came back changed`)
    }
  }
}

function client (task) {
  return new Promise((resolve, reject) => {
    const agent = new http.Agent()
    agent.createConnection = () => net.connect(task.port, '127.0.0.1')
    const ws = new WebSocket('ws://localhost/', {
      agent,
      perMessageDeflate: deflate(task.offer) || false,
      maxPayload: most
    })
    if (!task.messages) {
      echo(ws)
      ws.on('close', () => resolve('ended'))
      return
    }
    ws.on('error', reject)
    ws.on('close', (code) => reject(new Error(`closed with ${code}`)))
    ws.on('open', async () => {
      try {
        await talk(ws, task.messages)
        resolve(ws.extensions)
      } catch (err) {
        reject(err)
      }
      ws.close(1000)
    })
  })
}

if (process.argv[2] === 'server') {
  const server = new WebSocket.Server({ host: '127.0.0.1', port: 0, maxPayload: most, perMessageDeflate: { threshold: 0 } }, () => {
    console.log(server.address().port)
  })
  server.on('connection', echo)
  process.stdin.on('end', () => process.exit()).resume()
} else {
  (async () => {
    for await (const line of readline.createInterface({ input: process.stdin })) {
      console.log(await client(JSON.parse(line)).catch((err) => `${err}`))
    }
  })()
}
