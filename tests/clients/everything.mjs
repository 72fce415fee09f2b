// The reference server "everything", with sessions and streams. It would listen at every address: here it is held to 127.0.0.1.
// PORT: where to listen.
import { Server } from 'node:net';

const { listen } = Server.prototype;
Server.prototype.listen = function listenHere(port, ...rest) {
  return listen.call(this, { port: Number(port), host: '127.0.0.1' }, ...rest);
};
process.argv[2] = 'streamableHttp';
await import('@modelcontextprotocol/server-everything/dist/index.js');
