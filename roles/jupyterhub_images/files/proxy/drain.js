// Loaded before the proxy (node --require). Its log has no colors. Requests may take any time: the front limits their
// pauses, and Node would end uploads after five minutes. On SIGUSR2, the proxy accepts no more connections, and ends with
// its last one, such as a web socket of a kernel. The deployment sends the signal when another proxy has taken over.
'use strict';

const net = require('node:net');
const { format } = require('winston');

// The log is a file, and winston has no option that turns colors off.
Object.defineProperty(format, 'colorize', { value: format.uncolorize });

const PUBLIC_PORT = 8000;
// Milliseconds. The front's old worker processes may still receive the headers of a request, for 20 s at most
// (client_header_timeout), which they then pass to this proxy.
const GRACE = 30 * 1000;
// As long as the front keeps an old connection (worker_shutdown_timeout).
const LONGEST = 24 * 3600 * 1000;

const servers = new Set();
const unused = new Set(); // connections without an open request
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...options) {
  servers.add(this);
  this.requestTimeout = 0;
  this.on('connection', (socket) => {
    unused.add(socket);
    socket.on('close', () => unused.delete(socket));
  });
  this.on('request', (request, response) => {
    unused.delete(request.socket);
    response.on('close', () => request.socket.destroyed || unused.add(request.socket));
  });
  this.on('upgrade', (request, socket) => unused.delete(socket));
  return listen.apply(this, options);
};

function close(server) {
  server.close(() => process.exit(0));
  // Otherwise a client that sends nothing would keep the proxy.
  setInterval(() => unused.forEach((socket) => socket.destroy()), GRACE);
}

let draining = false;
process.on('SIGUSR2', () => {
  if (draining) return;
  draining = true;
  console.error('proxy: another one has taken over; this one ends with its last connection');
  for (const server of servers) {
    if (server.address()?.port === PUBLIC_PORT) {
      setTimeout(close, GRACE, server);
    } else {
      server.close(); // the API: the hub uses that of the other proxy
    }
  }
  setTimeout(() => process.exit(0), LONGEST);
});
