from aaren.cli import main

if __name__ == "__main__":
    main()
