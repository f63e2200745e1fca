// Drives openid-client (npm): one JSON object a line in, one out. Whoever writes the lines plays the browser in between.
import * as client from 'openid-client';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { createPrivateKey } from 'node:crypto';
import { createInterface } from 'node:readline';

let config, tokens;
const kept = {};

/** The private key for a way to sign, as WebCrypto wants it. */
async function key({ pem, kid, hash }) {
  const der = createPrivateKey(pem).export({ type: 'pkcs8', format: 'der' });
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash };
  return { key: await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']), kid };
}

/** How the client proves itself: a secret, or a signed JWT, whose audience and type the token service of the APIs prescribes. */
async function proof({ secret, signs }) {
  if (!signs) return client.ClientSecretPost(secret);
  if (!signs.audience) return client.PrivateKeyJwt(await key(signs));
  const modify = (header, payload) => {
    header.typ = 'JWT';
    payload.aud = signs.audience;
  };
  return client.PrivateKeyJwt(await key(signs), { [client.modifyAssertion]: modify });
}

const told = () => ({ ...tokens, claims: tokens.claims?.() });

const operations = {
  async discover(asked) {
    config = await client.discovery(new URL(asked.issuer), asked.client_id, undefined, await proof(asked));
    return config.serverMetadata();
  },
  async plain(asked) {
    config = new client.Configuration(asked.server, asked.client_id, undefined, await proof(asked));
    return {};
  },
  async authorize({ parameters }) {
    kept.pkceCodeVerifier = client.randomPKCECodeVerifier();
    kept.expectedState = client.randomState();
    const all = {
      ...parameters,
      code_challenge: await client.calculatePKCECodeChallenge(kept.pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: kept.expectedState,
    };
    delete kept.expectedNonce;
    delete kept.idTokenExpected;
    if (parameters.scope?.includes('openid')) {
      all.nonce = kept.expectedNonce = client.randomNonce();
      kept.idTokenExpected = true;
    }
    return { url: client.buildAuthorizationUrl(config, all).href };
  },
  async redeem({ url }) {
    tokens = await client.authorizationCodeGrant(config, new URL(url), kept);
    return told();
  },
  async userinfo({ subject }) {
    return client.fetchUserInfo(config, tokens.access_token, subject);
  },
  async refresh({ token }) {
    tokens = await client.refreshTokenGrant(config, token ?? tokens.refresh_token);
    return told();
  },
  async credentials() {
    tokens = await client.clientCredentialsGrant(config);
    return told();
  },
  async exchange({ subject_token }) {
    tokens = await client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
      subject_token,
      subject_token_type: 'urn:ietf:params:oauth:token-type:id_token',
    });
    return told();
  },
  async introspect({ token }) {
    return client.tokenIntrospection(config, token);
  },
  async revoke({ token }) {
    await client.tokenRevocation(config, token);
    return {};
  },
  async end({ parameters }) {
    return { url: client.buildEndSessionUrl(config, parameters).href };
  },
  /** A logout token as OpenID Connect Back-Channel Logout 1.0 §2.6 has it checked, by the published keys. */
  async logout_token({ token, client_id, issuer, keys }) {
    const set = createRemoteJWKSet(new URL(keys));
    const { payload, protectedHeader } = await jwtVerify(token, set, { issuer, audience: client_id, algorithms: ['RS256'] });
    return { payload, header: protectedHeader };
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let answer;
  try {
    answer = { done: await operations[asked.do](asked) };
  } catch (e) {
    answer = { failed: { name: e.name, code: e.code, error: e.error, text: String(e.error_description ?? e.cause?.message ?? e.message) } };
  }
  console.log(JSON.stringify(answer));
}
