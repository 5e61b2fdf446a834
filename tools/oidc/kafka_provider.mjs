// An OpenID provider for Kafka's clients in tests: the package oidc-provider over TLS, with a client for each user.
//
//   node kafka_provider.mjs PORT FOLDER KEYSTORE PASSWORD USER=SECONDS...
//
// The secret of a client is `secret-of-USER`, and its tokens live for SECONDS. FOLDER gets the private keys and, as jwks.json,
// the public ones for the broker; a provider that is started again has the same.
import crypto from 'node:crypto';
import fs from 'node:fs';
import https from 'node:https';
import { Provider } from 'oidc-provider';

const [port, folder, keystore, passphrase, ...users] = process.argv.slice(2);
const issuer = `https://127.0.0.1:${port}`;
const lifetimes = Object.fromEntries(users.map((user) => user.split('=')));

const keysFile = `${folder}/keys.json`;
if (!fs.existsSync(keysFile)) {
  const { privateKey, publicKey } = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });
  const named = (key) => ({ keys: [{ ...key.export({ format: 'jwk' }), kid: 'first', use: 'sig', alg: 'RS256' }] });
  fs.writeFileSync(keysFile, JSON.stringify(named(privateKey)));
  fs.writeFileSync(`${folder}/jwks.json`, JSON.stringify(named(publicKey)));
}

const provider = new Provider(issuer, {
  jwks: JSON.parse(fs.readFileSync(keysFile)),
  clients: Object.keys(lifetimes).map((id) => ({
    client_id: id,
    client_secret: `secret-of-${id}`,
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  })),
  cookies: { keys: [crypto.randomUUID()] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'urn:kafka',
      getResourceServerInfo: (ctx, resource, client) => ({
        scope: 'brokers',
        audience: 'kafka',
        accessTokenTTL: Number(lifetimes[client.clientId]),
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'RS256' } },
      }),
    },
  },
});

const options = { pfx: fs.readFileSync(keystore), passphrase };
https.createServer(options, provider.callback()).listen(Number(port), '127.0.0.1', () => console.log(`listening at ${issuer}`));
