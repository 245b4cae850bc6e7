"""``python -m imagebind_llm``."""

from imagebind_llm.cli import main

if __name__ == "__main__":
    main()
