// An OpenID provider for tests: the package oidc-provider with clients, people and groups of a shop.
//
//   node provider.mjs PORT KEYS.json
//
// The keys are a set of private JWKs; they are made if the file is missing. `/test/..` are the tests' own routes: they stand
// for the person in front of the browser, and forge tokens as somebody without the private keys would.
import crypto from 'node:crypto';
import fs from 'node:fs';
import { Provider } from 'oidc-provider';

const [port, keysFile] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const AUDIENCE = 'urn:sandbar';

if (!fs.existsSync(keysFile)) {
  const key = (id, kind, options, alg) => {
    const { privateKey } = crypto.generateKeyPairSync(kind, options);
    return { ...privateKey.export({ format: 'jwk' }), kid: `${id}-${crypto.randomUUID()}`, use: 'sig', alg };
  };
  const keys = [key('rsa', 'rsa', { modulusLength: 2048 }, 'RS256'), key('ec', 'ec', { namedCurve: 'P-256' }, 'ES256')];
  fs.writeFileSync(keysFile, JSON.stringify({ keys }));
}
const jwks = JSON.parse(fs.readFileSync(keysFile));

const GROUPS = {
  anna: ['stock-devs', 'staff'],
  root: ['sandbar-admins'],
  'ci-stock': ['stock-devs'],
  'ci-admin': ['sandbar-admins'],
  'ci-team': ['team-shop'],
  'ci-nobody': ['staff'],
};
// A resource is the audience, the seconds that its tokens live, and their algorithm.
const RESOURCES = {
  [AUDIENCE]: [AUDIENCE, 300, 'RS256'],
  'urn:sandbar:es256': [AUDIENCE, 300, 'ES256'],
  'urn:sandbar:short': [AUDIENCE, 8, 'RS256'],
  'urn:sandbar:long': [AUDIENCE, 7 * 24 * 3600, 'RS256'],
  'urn:other': ['urn:other', 300, 'RS256'],
};

const machine = (id) => ({
  client_id: id,
  client_secret: 'secret',
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
});
const person = {
  client_id: 'sandbar-cli',
  token_endpoint_auth_method: 'none',
  application_type: 'native',
  grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
};

const provider = new Provider(issuer, {
  jwks,
  clients: [person, ...Object.keys(GROUPS).map(machine)],
  claims: { openid: ['sub'], profile: ['preferred_username'] },
  cookies: { keys: [crypto.randomUUID()] },
  features: {
    devInteractions: { enabled: false },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, resource) => {
        const [audience, accessTokenTTL, alg] = RESOURCES[resource];
        return { scope: 'use', audience, accessTokenTTL, accessTokenFormat: 'jwt', jwt: { sign: { alg } } };
      },
    },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, preferred_username: id }) }),
  extraTokenClaims: (ctx, token) => {
    const id = token.accountId ?? token.clientId;
    return { groups: GROUPS[id], preferred_username: `${id}@shop.example` };
  },
  rotateRefreshToken: true,
});

let keysAsked = 0;
let revoked = 0;
const base64 = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

// Signs in the person whose code it is.
async function approve({ user_code: userCode, account: accountId }) {
  const code = await provider.DeviceCode.findByUserCode(userCode.replace(/[^A-Z]/g, ''));
  const grant = new provider.Grant({ accountId, clientId: code.clientId });
  grant.addOIDCScope(code.params.scope);
  const resource = code.params.resource;
  if (resource) grant.addResourceScope(resource, 'use');
  const scope = `${code.params.scope} use`;
  Object.assign(code, { accountId, grantId: await grant.save(), scope, authTime: Math.floor(Date.now() / 1000) });
  if (resource) code.resource = resource;
  await code.save();
  return {};
}

const own = crypto.generateKeyPairSync('rsa', { modulusLength: 2048 });

// Tokens of somebody who knows a valid token and the public keys.
function forge({ kind, token }) {
  const [head, claims, signature] = token.split('.');
  const header = JSON.parse(Buffer.from(head, 'base64url'));
  const signed = (changed, sign) => {
    const message = `${base64({ ...header, ...changed })}.${claims}`;
    return `${message}.${sign(message)}`;
  };
  const pem = crypto.createPublicKey({ key: jwks.keys[0], format: 'jwk' }).export({ type: 'spki', format: 'pem' });
  const byOwn = (message) => crypto.sign('sha256', message, own.privateKey).toString('base64url');
  const jwk = { ...own.publicKey.export({ format: 'jwk' }), kid: header.kid };
  const later = base64({ ...JSON.parse(Buffer.from(claims, 'base64url')), groups: ['sandbar-admins'] });
  const forged = {
    none: () => `${base64({ ...header, alg: 'none' })}.${claims}.`,
    'none-with-signature': () => `${base64({ ...header, alg: 'none' })}.${claims}.${signature}`,
    hs256: () => signed({ alg: 'HS256' }, (message) => crypto.createHmac('sha256', pem).update(message).digest('base64url')),
    'own-key': () => signed({}, byOwn),
    'own-jwk': () => signed({ jwk }, byOwn),
    'own-jku': () => signed({ jku: `${issuer}/test/keys`, x5u: `${issuer}/test/keys` }, byOwn),
    'unknown-kid': () => signed({ kid: crypto.randomUUID() }, byOwn),
    'path-kid': () => signed({ kid: '../../../../dev/null' }, (message) => crypto.createHmac('sha256', '').update(message).digest('base64url')),
    crit: () => signed({ crit: ['exp'] }, byOwn),
    'other-claims': () => `${head}.${later}.${signature}`,
    'cut-off': () => token.slice(0, -10),
  };
  return { token: forged[kind]() };
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/jwks') keysAsked += 1;
  if (ctx.path === '/token/revocation') revoked += 1;
  if (ctx.path === '/test/approve') ctx.body = await approve(ctx.query);
  else if (ctx.path === '/test/forge') ctx.body = forge(ctx.query);
  else if (ctx.path === '/test/counts') ctx.body = { keys: keysAsked, revoked };
  else await next();
});

provider.listen(Number(port), '127.0.0.1', () => console.log(`listening at ${issuer}`));
