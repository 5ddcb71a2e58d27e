// What KMS gives out, examined by node's own cryptography.
import assert from 'node:assert/strict';
import * as crypto from 'node:crypto';

function publicKey(base64) {
    return crypto.createPublicKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'spki' });
}

function privateKey(base64) {
    return crypto.createPrivateKey({ key: Buffer.from(base64, 'base64'), format: 'der', type: 'pkcs8' });
}

function hashOf(algorithm) {
    return `sha${/SHA_(\d+)$/.exec(algorithm)[1]}`;
}

// How node verifies what a KMS signing algorithm signs.
function verifier(algorithm, key) {
    if (algorithm === 'ED25519_SHA_512') {
        return { hash: null, key: { key } };
    }
    if (algorithm.startsWith('ECDSA')) {
        return { hash: hashOf(algorithm), key: { key, dsaEncoding: 'der' } };
    }
    if (algorithm.startsWith('RSASSA_PSS')) {
        return {
            hash: hashOf(algorithm),
            key: {
                key,
                padding: crypto.constants.RSA_PKCS1_PSS_PADDING,
                saltLength: crypto.constants.RSA_PSS_SALTLEN_DIGEST,
            },
        };
    }
    return { hash: hashOf(algorithm), key: { key, padding: crypto.constants.RSA_PKCS1_PADDING } };
}

const SPECS = {
    RSA_2048: { asymmetricKeyType: 'rsa', modulusLength: 2048 },
    RSA_3072: { asymmetricKeyType: 'rsa', modulusLength: 3072 },
    RSA_4096: { asymmetricKeyType: 'rsa', modulusLength: 4096 },
    ECC_NIST_P256: { asymmetricKeyType: 'ec', namedCurve: 'prime256v1' },
    ECC_NIST_P384: { asymmetricKeyType: 'ec', namedCurve: 'secp384r1' },
    ECC_NIST_P521: { asymmetricKeyType: 'ec', namedCurve: 'secp521r1' },
    ECC_SECG_P256K1: { asymmetricKeyType: 'ec', namedCurve: 'secp256k1' },
    ECC_NIST_EDWARDS25519: { asymmetricKeyType: 'ed25519' },
};

function isOfSpec(key, spec) {
    const { asymmetricKeyType, ...details } = SPECS[spec];
    assert.equal(key.asymmetricKeyType, asymmetricKeyType);
    for (const [name, value] of Object.entries(details)) {
        assert.equal(key.asymmetricKeyDetails[name], value);
    }
}

// Each takes the members of its call and may return variables to keep.
export const checks = {
    publicKey({ publicKey: given, spec }) {
        isOfSpec(publicKey(given), spec);
    },

    signature({ publicKey: given, algorithm, message, signature }) {
        const { hash, key } = verifier(algorithm, publicKey(given));
        const bytes = Buffer.from(message, 'base64');
        const signed = Buffer.from(signature, 'base64');
        assert.ok(crypto.verify(hash, bytes, key, signed), 'the signature is not valid');
        signed[signed.length - 1] ^= 1;
        assert.ok(!crypto.verify(hash, bytes, key, signed), 'any signature is valid');
    },

    // What node encrypts to the public key, KMS must decrypt.
    oaepEncrypt({ publicKey: given, algorithm, plaintext }) {
        const sealed = crypto.publicEncrypt({
            key: publicKey(given),
            padding: crypto.constants.RSA_PKCS1_OAEP_PADDING,
            oaepHash: hashOf(algorithm),
        }, Buffer.from(plaintext, 'base64'));
        return { sealed: sealed.toString('base64') };
    },

    pair({ publicKey: given, privateKey: secret, spec }) {
        const key = privateKey(secret);
        isOfSpec(key, spec);
        assert.deepEqual(crypto.createPublicKey(key).export({ format: 'der', type: 'spki' }),
            Buffer.from(given, 'base64'));
    },

    peer({ spec }) {
        const { publicKey: mine, privateKey: secret } = crypto.generateKeyPairSync('ec',
            { namedCurve: SPECS[spec].namedCurve });
        return {
            peer: mine.export({ format: 'der', type: 'spki' }).toString('base64'),
            peerSecret: secret.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
        };
    },

    agreement({ publicKey: theirs, peerSecret, sharedSecret }) {
        assert.equal(crypto.diffieHellman({
            publicKey: publicKey(theirs), privateKey: privateKey(peerSecret),
        }).toString('base64'), sharedSecret);
    },

    differ({ values }) {
        assert.equal(new Set(values).size, values.length);
    },
};
