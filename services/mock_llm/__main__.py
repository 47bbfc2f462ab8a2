"""`python -m mock_llm`."""

from mock_llm.command import main

if __name__ == "__main__":
    main()
