"""The engine's process with one salt for all requests, for the test that shows what goes wrong then."""

import sys

from imagebind_llm.serving.vllm import process, salts

if __name__ == "__main__":
    salts.salt_of = lambda keys, runs: "the same for all"
    process.main(sys.argv[1:])
