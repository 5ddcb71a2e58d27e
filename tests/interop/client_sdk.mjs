// AWS's client for JavaScript, from the node_modules of the build folder.
import { createRequire } from 'node:module';
import { join } from 'node:path';

// Members that are bytes: Base64 in calls.json, Uint8Array here.
const BLOBS = ['Plaintext', 'CiphertextBlob', 'Message', 'Signature', 'Mac', 'PublicKey'];

function toSdk(input) {
    return Object.fromEntries(Object.entries(input).map(([name, value]) =>
        [name, BLOBS.includes(name) ? new Uint8Array(Buffer.from(value, 'base64')) : value]));
}

function fromSdk(value) {
    if (value instanceof Uint8Array) {
        return Buffer.from(value).toString('base64');
    }
    if (value instanceof Date) {
        return value.toISOString();
    }
    if (Array.isArray(value)) {
        return value.map(fromSdk);
    }
    if (value !== null && typeof value === 'object') {
        return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fromSdk(v)]));
    }
    return value;
}

export function createClient(folder) {
    const sdk = createRequire(join(folder, 'package.json'))('@aws-sdk/client-kms');
    const clients = new Map();

    // One client for each identity, as a program would have; its connections are kept.
    function clientOf(url, as) {
        const key = JSON.stringify([url, as]);
        if (!clients.has(key)) {
            clients.set(key, new sdk.KMSClient({
                endpoint: url,
                region: as.region,
                maxAttempts: 1,
                credentials: {
                    accessKeyId: as.id,
                    secretAccessKey: as.secret,
                    sessionToken: as.token,
                },
                ...(as.unsigned ? { signer: { sign: async (request) => request } } : {}),
            }));
        }
        return clients.get(key);
    }

    return async (url, operation, input, as) => {
        try {
            const command = new sdk[`${operation}Command`](toSdk(input));
            const { $metadata, ...output } = await clientOf(url, as).send(command);
            return { output: fromSdk(output) };
        } catch (error) {
            if (error.$metadata?.httpStatusCode === undefined) {
                throw error;
            }
            return { error: error.name, message: error.message };
        }
    };
}
