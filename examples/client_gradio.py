"""Asks a running app through gradio_client: python examples/client_gradio.py ADDRESS IMAGE [IMAGE...]"""

import json
import sys

from gradio_client import Client, handle_file

address, *images = sys.argv[1:]
client = Client(address, verbose=False)
if len(images) == 1:
    answers = [client.predict(handle_file(images[0]), api_name="/predict")]
else:
    answers = client.predict([handle_file(path) for path in images], api_name="/predict_batch")
for answer in answers:
    print(json.dumps(answer))
