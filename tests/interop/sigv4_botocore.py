#!/usr/bin/python3
"""Signs the same requests with botocore and with core's signer, and compares each header.
usage: sigv4_botocore.py SIGN_REQUESTS [SEED]
"""

import base64
import json
import random
import re
import subprocess
import sys

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

COUNT = 400
REGIONS = ['eu-central-1', 'eu-west-1', 'eu-west-3', 'eu-north-1', 'eu-south-1', 'eu-south-2',
           'eusc-de-east-1', 'eu-central-2', 'us-gov-west-1']
SERVICES = ['kms', 'kms', 'kms', 'sts']
HOSTS = ['kms.{region}.amazonaws.com', 'kms-fips.{region}.amazonaws.com', 'kms.{region}.api.aws',
         'vpce-0a1b-2c3d.kms.{region}.vpce.amazonaws.com', 'kms.{region}.amazonaws.eu', '127.0.0.1',
         'localhost', '[::1]']
# Names of which one begins another, and such that sort around '-' and digits.
NAMES = ['x-test', 'x-test-case', 'x-test1', 'x-tes', 'x-amz-meta', 'x-amz-meta-data', 'x-a',
         'amz-sdk-invocation-id', 'amz-sdk-request', 'accept', 'x-0', 'x_y', 'x.y', 'zz']
LETTERS = 'abcXYZ019-_.~!#$%&\'()*+,/:;<=>?@[]^`{|}"\\Ääßéčλжאあ鍵€😀'
SECRET_LETTERS = 'abcdefXYZ0123456789/+='


def text(low, high, letters=LETTERS):
    return ''.join(random.choice(letters) for _ in range(random.randint(low, high)))


def words():
    """A value as it is on the wire: no outer blanks, no runs of them."""
    return ' '.join(text(1, 12) for _ in range(random.randint(1, 4)))


def url_and_host(region):
    host = random.choice(HOSTS).format(region=region)
    scheme, port = random.choice([('https', None), ('https', 443), ('http', 80), ('https', 8443),
                                  ('http', random.randint(1024, 65535))])
    url = f'{scheme}://{host}' + (f':{port}' if port else '') + '/'
    default = port in (None, 443 if scheme == 'https' else 80)
    return url, host if default else f'{host}:{port}'


def random_request():
    region = random.choice(REGIONS)
    url, host = url_and_host(region)
    headers = {'Content-Type': 'application/x-amz-json-1.1',
               'X-Amz-Target': 'TrentService.' + text(1, 20, 'abcDEF')}
    for name in random.sample(NAMES, random.randint(0, 6)):
        headers[name] = words()
    body = random.choice([b'', b'{}', random.randbytes(random.randint(1, 5000)),
                          json.dumps({'EncryptionContext': {words(): words()}},
                                     ensure_ascii=random.random() < 0.5).encode()])
    token = random.choice([None, text(1, 40, SECRET_LETTERS), text(4000, 9000, SECRET_LETTERS)])
    return {
        'region': region, 'service': random.choice(SERVICES), 'url': url, 'host': host,
        'headers': headers, 'body': body, 'id': text(1, 128, 'ABCXYZ0189'),
        'secret': text(1, 100, SECRET_LETTERS), 'token': token,
    }


def sign_with_botocore(request):
    aws = AWSRequest('POST', request['url'], request['headers'], request['body'])
    credentials = Credentials(request['id'], request['secret'], request['token'])
    SigV4Auth(credentials, request['service'], request['region']).add_auth(aws)
    return aws.headers['Authorization'], aws.headers['X-Amz-Date']


def line_for_us(request, date):
    headers = {name.lower(): value for name, value in request['headers'].items()}
    headers['host'] = request['host']
    headers['x-amz-date'] = date
    if request['token'] is not None:
        headers['x-amz-security-token'] = request['token']
    return json.dumps({
        'id': request['id'], 'secret': request['secret'], 'region': request['region'],
        'service': request['service'], 'date': date,
        'body': base64.b64encode(request['body']).decode(),
        'headers': sorted(headers.items(), key=lambda header: header[0].encode()),
    })


def main():
    seed = sys.argv[2] if len(sys.argv) > 2 else str(random.randrange(10 ** 9))
    print(f'seed {seed}')
    random.seed(seed)
    requests = [random_request() for _ in range(COUNT)]
    signed = [sign_with_botocore(request) for request in requests]
    lines = [line_for_us(request, date) for request, (_, date) in zip(requests, signed)]
    ours = subprocess.run([sys.argv[1]], input='\n'.join(lines) + '\n', capture_output=True,
                          text=True, encoding='utf-8', check=False)
    sys.stderr.write(ours.stderr)
    answers = ours.stdout.splitlines()
    if ours.returncode != 0 or len(answers) != COUNT:
        sys.exit(f'sign_requests: exit {ours.returncode} after {len(answers)} of {COUNT} requests')
    for line, (theirs, _), mine in zip(lines, signed, answers):
        if mine != theirs:
            sys.exit(f'differs for {line}\nbotocore: {theirs}\nours:     {mine}')
    assert all(re.search(r'Signature=[0-9a-f]{64}$', mine) for mine in answers)
    print(f'{COUNT} requests have one signature')


main()
